import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.faces import (
    TEMPLATE,
    DetectedFace,
    Face,
    FaceFinder,
    FaceTracker,
    align,
    area,
    main_track,
    similarity,
)


@pytest.fixture(scope="module")
def finder():
    torch.set_num_threads(1)  # as the program does: small networks gain nothing from more
    return FaceFinder()


@pytest.fixture(scope="module")
def frames():
    """A function: five frames spread over a clip, longest side 640."""

    @cache
    def read(clip, count=5):
        with av.open(str(clip)) as container:
            every = list(container.decode(video=0))
        chosen = [every[int(i)] for i in np.linspace(0, len(every) - 1, count)]
        scale = min(1, 640 / max(chosen[0].width, chosen[0].height))
        size = round(chosen[0].width * scale), round(chosen[0].height * scale)
        return [frame.to_ndarray(format="rgb24", width=size[0], height=size[1]) for frame in chosen]

    return read


def face(x, y, size):
    return DetectedFace((x, y, size, size), 1.0, TEMPLATE)


# --- real pictures ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["talk", "other_talk", "upright_talk"])
def test_a_talker_is_found_in_every_frame_upright_and_framed_by_the_template(
    finder, frames, request, clip
):
    found = finder.find(frames(request.getfixturevalue(clip).path))
    assert all(isinstance(one, Face) for one in found)
    for one in found:
        assert one.image.shape == (160, 160, 3)
        assert one.image.dtype == np.uint8
        assert one.confidence > 0.9
    # Detected anew inside the crop, the eyes lie where the template has them.
    (again,) = finder.detect([np.pad(found[0].image, ((80, 80), (80, 80), (0, 0)), "edge")])
    assert np.abs(again[0].landmarks - 80 - TEMPLATE).max() < 16


@pytest.mark.slow
def test_a_search_finds_what_that_of_facenet_pytorch_finds_to_the_digit(finder, frames, shared):
    from facenet_pytorch.models.utils.detect_face import detect_face

    clips = ["two_people_interview.mp4", "many_faces_1080p.mp4", "no_face.mp4"]
    pictures = [picture for clip in clips for picture in frames(shared / "media" / clip, 3)]
    for picture, faces in zip(pictures, finder.detect(pictures), strict=True):
        smallest = max(20.0, 0.08 * min(picture.shape[:2]))
        planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        with torch.inference_mode():
            (rows,), (marks,) = detect_face(
                planes.permute(1, 2, 0),
                *(smallest, *finder._networks, (0.6, 0.7, 0.9), 0.709, "cpu"),
            )
        theirs = {float(row[4]): mark for row, mark in zip(rows, marks, strict=True)}
        assert len(faces) == len(theirs)
        for face in faces:
            np.testing.assert_array_equal(face.landmarks, theirs[face.confidence])


@pytest.mark.slow
def test_two_people_are_both_detected_and_one_is_followed(finder, frames, shared):
    pictures = frames(shared / "media/two_people_interview.mp4")
    assert [len(faces) for faces in finder.detect(pictures)] == [2] * 5
    centres = [one.box[0] + one.box[2] / 2 for one in finder.find(pictures)]
    assert max(centres) - min(centres) < 100  # they sit 300 pixels apart


def test_nobody_in_view_gives_no_face(finder, frames, shared):
    pictures = frames(shared / "media/no_face.mp4", 10)
    assert finder.detect(pictures) == [[]] * 10
    assert finder.find(pictures) == [None] * 10


@pytest.mark.slow
def test_several_faces_are_detected_the_largest_first(finder, frames, shared):
    for faces in finder.detect(frames(shared / "media/many_faces_1080p.mp4", 3)):
        assert len(faces) >= 3
        assert [area(one) for one in faces] == sorted(map(area, faces), reverse=True)


@pytest.mark.slow
def test_a_picture_gives_the_same_digits_in_whatever_company(finder, frames, crowd, talk):
    pictures = frames(crowd, 3)
    together = finder.detect([*pictures, frames(talk.path, 1)[0]])
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda picture: finder.detect([picture])[0], pictures))
    for one, other in zip(together[:3], alone, strict=True):
        assert [(f.box, f.confidence) for f in one] == [(f.box, f.confidence) for f in other]
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.landmarks, b.landmarks)


def test_boxes_lie_inside_the_picture(finder, frames, other_talk):
    (picture,) = frames(other_talk.path, 1)
    cut = picture[150:, 150:]  # through the face
    for one in finder.detect([cut])[0]:
        x, y, width, height = one.box
        assert x >= 0
        assert y >= 0
        assert x + width <= cut.shape[1] + 1e-6
        assert y + height <= cut.shape[0] + 1e-6


# --- odd pictures ----------------------------------------------------------------------------


def test_no_pictures_give_no_faces(finder):
    assert finder.detect([]) == []
    assert finder.find([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (19, 400), (20, 20), (21, 640), (300, 33)])
def test_small_and_narrow_pictures_are_no_error(finder, shape):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    black = np.zeros((*shape, 3), np.uint8)
    assert finder.find([picture, black]) == [None, None]


def test_a_picture_of_another_form_is_refused(finder):
    with pytest.raises(ValueError, match="uint8"):
        finder.detect([np.zeros((100, 100), np.uint8)])
    with pytest.raises(ValueError, match="float64"):
        finder.detect([np.zeros((100, 100, 3))])


# --- following -------------------------------------------------------------------------------


def test_the_face_that_stays_wins_over_a_larger_one_that_passes():
    near, passing = [face(10 + 5 * i, 20, 60) for i in range(5)], face(300, 50, 100)
    pictures = [[near[0]], [passing, near[1]], [near[2]], [near[3]], [near[4]]]
    assert main_track(pictures) == near


def test_a_face_that_is_away_for_a_picture_is_taken_up_again():
    pictures = [[face(10, 10, 50)], [], [face(20, 10, 50)]]
    assert [one is not None for one in main_track(pictures)] == [True, False, True]


def test_two_faces_side_by_side_are_not_confused_in_any_order():
    left, right = face(0, 0, 80), face(100, 0, 100)
    pictures = [[left, right], [right, left], [left], [right, left]]
    assert main_track(pictures) == [right, right, None, right]


@given(
    st.lists(
        st.lists(
            st.builds(face, st.floats(0, 600), st.floats(0, 300), st.floats(20, 200)), max_size=4
        ),
        max_size=6,
    )
)
def test_whoever_is_followed_was_seen_and_is_there_if_anybody_is(pictures):
    track = main_track(pictures)
    assert len(track) == len(pictures)
    assert all(one is None or one in faces for one, faces in zip(track, pictures, strict=True))
    assert any(track) == any(pictures)


# --- following as the pictures come ---


@pytest.fixture(scope="module")
def film():
    """A function: the first pictures of a clip, five a second, longest side 640."""

    @cache
    def read(clip, count=25):
        pictures = []
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                if frame.time >= len(pictures) / 5:
                    scale = min(1, 640 / max(frame.width, frame.height))
                    size = round(frame.width * scale), round(frame.height * scale)
                    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
                    pictures.append(picture)
                if len(pictures) == count:
                    break
        return pictures

    return read


def tracked(finder, pictures):
    tracker = FaceTracker(finder)
    for number, picture in enumerate(pictures):
        tracker.add(number / 5, picture)
    return tracker.pictures


@pytest.mark.slow
def test_followed_faces_of_people_who_move_lie_where_searching_finds_them(finder, film, shared):
    for clip in ("talker_grid_120s.mp4", "two_people_interview.mp4"):
        follows_as_it_searches(finder, film(shared / "media" / clip))


@pytest.mark.slow
def test_followed_faces_lie_where_searching_finds_them(finder, film, talk, other_talk):
    for clip in (talk, other_talk):
        follows_as_it_searches(finder, film(clip.path))


def follows_as_it_searches(finder, pictures):
    found, searched = tracked(finder, pictures), finder.detect(pictures)
    assert list(map(len, found)) == list(map(len, searched))
    errors = []
    for faces in zip(main_track(found), main_track(searched), strict=True):
        followed, other = (face.landmarks for face in faces)
        eyes = np.linalg.norm(other[1] - other[0])
        errors.append(np.abs(followed - other).mean() / eyes)
    assert np.median(errors) < 0.03
    assert max(errors) < 0.1


def test_what_is_found_depends_only_on_the_pictures_before(finder, film, crowd):
    pictures = film(crowd)
    whole, part = tracked(finder, pictures), tracked(finder, pictures[:8])
    for one, other in zip(whole[:8], part, strict=True):
        assert [(f.box, f.confidence) for f in one] == [(f.box, f.confidence) for f in other]


def test_who_goes_is_lost_and_who_comes_is_found(finder, film, other_talk):
    talker = film(other_talk.path)
    empty = [np.full_like(talker[0], 128)] * 5
    counts = list(map(len, tracked(finder, [*talker[:5], *empty, *talker[5:15]])))
    assert counts[:5] == [1] * 5
    assert counts[5:10] == [0] * 5
    assert counts[13:] == [1] * 7  # at most half a second later
    counts = list(map(len, tracked(finder, [*empty, *talker[:10]])))
    assert counts[8:] == [1] * 7


def test_two_that_come_to_lie_on_each_other_are_one(finder, film, other_talk):
    (picture,) = film(other_talk.path, 1)
    (face,) = finder.detect([picture])[0]
    x, y, width, height = face.box
    beside = DetectedFace((x + 0.05 * width, y, width, height), 1.0, face.landmarks)
    assert len(finder.follow(picture, [face, beside])) == 1
    assert finder.follow(picture, []) == []


# --- alignment -------------------------------------------------------------------------------


@given(st.floats(-math.pi, math.pi), st.floats(0.1, 10), st.floats(-500, 500))
def test_similarity_recovers_turn_scale_and_shift(angle, scale, shift):
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    moved = TEMPLATE @ turn.T + shift
    back = similarity(moved, TEMPLATE)
    np.testing.assert_allclose(moved @ back[:, :2].T + back[:, 2], TEMPLATE, atol=1e-3)


@pytest.mark.parametrize("scale", [0.4, 1, 3, 6])
def test_alignment_brings_marks_to_the_template_at_every_size(scale):
    side = int(160 * scale)
    picture = np.zeros((side, side, 3), np.uint8)
    for x, y in TEMPLATE * scale:
        radius = max(1, round(3 * scale))
        picture[int(y) - radius : int(y) + radius, int(x) - radius : int(x) + radius] = 255
    crop = align(picture, TEMPLATE * scale)
    assert crop.shape == (160, 160, 3)
    for x, y in TEMPLATE:
        assert crop[round(float(y)) - 1, round(float(x)) - 1].min() > 50
