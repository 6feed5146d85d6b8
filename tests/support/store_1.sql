PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE "events_5a1b00c3d4e5" (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, json TEXT NOT NULL);
INSERT INTO "events_5a1b00c3d4e5" VALUES(0,'about','{"name": "Ada \u201cA\u201d O''Hara", "source": "WHIP"}');
INSERT INTO "events_5a1b00c3d4e5" VALUES(1,'transcript.partial','{"session":"5a1b00c3d4e5","time":1.0,"type":"transcript.partial","utterance":1,"text":"grün “日本”, it''s"}');
INSERT INTO "events_5a1b00c3d4e5" VALUES(2,'session.ended','{"session":"5a1b00c3d4e5","time":9.0,"type":"session.ended","reason":"end","utterances":3,"average":{"utterances":0,"emotions":{},"neutral":null,"thresholds":{},"expressed":[],"adjusted":null,"speakers":[]}}');
CREATE TABLE "events_9f2c51d0a7be" (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, json TEXT NOT NULL);
INSERT INTO "events_9f2c51d0a7be" VALUES(0,'about','{"name": "talk.mp4", "source": "talk.mp4"}');
INSERT INTO "events_9f2c51d0a7be" VALUES(1,'session.started','{"session":"9f2c","time":0.0,"type":"session.started","source":"talk.mp4","profile":"embedded","stt":"moonshine-tiny","schema_version":4,"duration":120.0}');
INSERT INTO "events_9f2c51d0a7be" VALUES(2,'speech.started','{"session":"9f2c","time":0.544,"type":"speech.started"}');
INSERT INTO "events_9f2c51d0a7be" VALUES(3,'utterance.provisional','{"session":"9f2c","time":2.4,"type":"utterance.provisional","utterance":1,"emotions":{"happiness":0.61,"sadness":0.04,"anger":0.02,"fear":0.01,"disgust":0.03,"surprise":0.2},"thresholds":{"happiness":0.5,"sadness":0.35,"anger":0.4,"fear":0.3,"disgust":0.3,"surprise":0.45},"expressed":["happiness"]}');
INSERT INTO "events_9f2c51d0a7be" VALUES(4,'utterance.result','{"session":"9f2c","time":2.4,"type":"utterance.result","utterance":1,"start":0.444,"end":1.988,"reason":"silence","transcript":{"text":"Set green.","engine":"moonshine-tiny","confidence":0.87,"words":[{"text":"Set","start":0.5,"end":0.8},{"text":"green.","start":0.8,"end":1.2}]},"faces":[{"time":0.6,"box":[120.0,60.5,96.0,128.0],"confidence":0.999}],"emotions":{"happiness":0.61,"sadness":0.04,"anger":0.02,"fear":0.01,"disgust":0.03,"surprise":0.2},"thresholds":{"happiness":0.5,"sadness":0.35,"anger":0.4,"fear":0.3,"disgust":0.3,"surprise":0.45},"expressed":["happiness"],"modalities":["visual","acoustic","textual"],"contributions":{"happiness":{"visual":0.31,"acoustic":-0.02,"textual":0.12},"sadness":{"visual":-0.05,"acoustic":0.01,"textual":-0.01},"anger":{"visual":0.0,"acoustic":0.01,"textual":0.0},"fear":{"visual":0.0,"acoustic":-0.01,"textual":0.0},"disgust":{"visual":-0.02,"acoustic":0.0,"textual":0.01},"surprise":{"visual":0.14,"acoustic":0.02,"textual":-0.03}},"latency":{"close_to_result":0.31,"end_to_result":0.74,"stages":{"stt":0.12,"faces":0.2,"mer":0.09}}}');
INSERT INTO "events_9f2c51d0a7be" VALUES(5,'average.updated','{"session":"9f2c","time":2.4,"type":"average.updated","utterances":1,"emotions":{"happiness":0.61,"sadness":0.04,"anger":0.02,"fear":0.01,"disgust":0.03,"surprise":0.2},"thresholds":{"happiness":0.5,"sadness":0.35,"anger":0.4,"fear":0.3,"disgust":0.3,"surprise":0.45},"expressed":["happiness"]}');
CREATE TABLE "media_5a1b00c3d4e5" (utterance INTEGER PRIMARY KEY, inputs TEXT NOT NULL, sound BLOB NOT NULL);
INSERT INTO "media_5a1b00c3d4e5" VALUES(1,'{"faces": [[0.5, "/9hvbmU="]], "waveform": [[-0.5, 0.5], [0.0, 0.25]], "duration": 2.0, "frame": [640, 480]}',X'52494646206F6E65');
CREATE TABLE sessions (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, room TEXT, owner TEXT, started TEXT NOT NULL,
        duration REAL, recorded INTEGER NOT NULL, time REAL NOT NULL, utterances INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, reason TEXT
    );
INSERT INTO "sessions" VALUES('9f2c51d0a7be','upload',NULL,NULL,'2026-01-05T10:12:07.000000+00:00',120.0,0,0.0,0,0,NULL);
INSERT INTO "sessions" VALUES('5a1b00c3d4e5','call','r','guest','2026-01-04T09:00:00.000000+00:00',NULL,1,9.0,3,2,'end');
CREATE INDEX sessions_by_start ON sessions (started, id);
CREATE INDEX sessions_by_room ON sessions (room) WHERE room IS NOT NULL;
COMMIT;
PRAGMA user_version = 1;
