"""Timestamps whose clock is set anew: what follows goes on, sound and pictures together."""

from __future__ import annotations

import pytest

from realtime.sources.clocks import RecordingClock


class Reader:
    """Gives a clock what a file holds, in the file's order, and keeps the times it gets."""

    def __init__(self, origin_s: float | None = 0.0) -> None:
        self.clock = RecordingClock()
        self.clock.begin(origin_s, 0.0)
        self.heard_s = 0.0
        self.sounds: list[float] = []
        self.pictures: list[float] = []

    def sound(self, start_s: float, seconds: float) -> None:
        """So much sound in packets of 20 ms, the first of them with this timestamp."""
        for n in range(round(seconds * 50)):
            time = self.clock.sound(start_s + n / 50, self.heard_s)
            self.sounds.append(time)
            self.heard_s = time + 0.02

    def film(self, start_s: float, seconds: float) -> None:
        """The same of pictures, 25 a second."""
        for n in range(round(seconds * 25)):
            self.pictures.append(self.clock.picture(start_s + n / 25, self.heard_s))

    def both(self, start_s: float, seconds: float, *, late_s: float = 0.0) -> None:
        """Sound and pictures of the same timestamps, in chunks of 0.4 s, pictures first."""
        for n in range(round(seconds / 0.4)):
            self.film(start_s + n * 0.4, 0.4)
            self.sound(start_s + late_s + n * 0.4, 0.4)


def test_one_clock_is_left_as_it_is() -> None:
    reader = Reader(5.0)
    reader.both(5.0, 4)
    assert reader.sounds == pytest.approx([n / 50 for n in range(200)])
    assert reader.pictures == pytest.approx([n / 25 for n in range(100)])
    assert reader.clock.clocks == 1


@pytest.mark.parametrize("start_s", [0.0, 2.0, 600.0, 26.5 * 3600])
def test_the_pieces_of_a_joined_recording_follow_each_other(start_s: float) -> None:
    reader = Reader()
    for piece_s in (0.0, start_s, 1.0):
        reader.both(piece_s, 4)
    assert reader.sounds == pytest.approx([n / 50 for n in range(600)])
    assert reader.pictures == pytest.approx([n / 25 for n in range(300)], abs=0.05)
    assert reader.clock.clocks == 3


@pytest.mark.parametrize("late_s", [0.5, 3.0])
def test_in_each_piece_sound_and_pictures_stay_together(late_s: float) -> None:
    """The second piece's sound begins later than its pictures."""
    reader = Reader()
    reader.both(0.0, 4)
    reader.both(100.0, 20, late_s=late_s)
    assert reader.pictures[-1] - reader.sounds[-1] == pytest.approx(-late_s - 0.02 + 0.0, abs=0.03)


def test_pictures_that_a_decoder_held_back_keep_their_place() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    reader.sound(0.0, 0.4)
    reader.film(4.0, 0.2)  # of the first piece
    reader.film(0.0, 4.0)
    assert reader.pictures[100:105] == pytest.approx([4.0 + n / 25 for n in range(5)])
    assert reader.pictures[105:] == pytest.approx([4.0 + n / 25 for n in range(100)])


def test_pictures_whose_clock_alone_jumps_go_on() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    reader.sound(4.0, 4)  # a muxer sorts by time: all the sound is before these pictures
    reader.film(7204.0, 4)
    assert reader.pictures == pytest.approx([n / 25 for n in range(200)], abs=0.05)
    assert reader.clock.clocks == 2


def test_pictures_whose_clock_comes_back_are_in_time_again() -> None:
    reader = Reader()
    for start_s in (0.0, 500.0, 8.0):
        reader.film(start_s, 4)
        reader.sound(len(reader.sounds) / 50, 4)
    assert reader.pictures == pytest.approx([n / 25 for n in range(300)], abs=0.1)


def test_sound_whose_clock_alone_jumps_goes_on() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    for n in range(10):
        reader.film(4 + n * 0.4, 0.4)
        reader.sound(3600 + n * 0.4, 0.4)
    assert reader.sounds == pytest.approx([n / 50 for n in range(400)])
    assert reader.pictures == pytest.approx([n / 25 for n in range(200)])


def test_a_long_gap_in_the_sound_is_believed_if_the_pictures_go_on() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    reader.film(4.0, 300)
    reader.both(304.0, 4)
    assert reader.sounds[200] == pytest.approx(304)
    assert reader.clock.clocks == 1


def test_a_picture_every_half_minute_has_one_clock() -> None:
    reader = Reader()
    for n in range(8):
        reader.film(n * 30.0, 0.04)
        reader.sound(n * 30.0, 30)
    assert reader.pictures == pytest.approx([n * 30.0 for n in range(8)])
    assert reader.clock.clocks == 1


def test_pictures_that_begin_late_begin_late() -> None:
    reader = Reader()
    reader.sound(0.0, 120)
    reader.film(118.0, 4)
    assert reader.pictures[0] == pytest.approx(118.0)
    assert reader.clock.clocks == 1


def test_what_overlaps_a_little_has_the_same_clock() -> None:
    reader = Reader()
    reader.sound(0.0, 4)
    reader.sound(3.9, 4)
    assert reader.sounds[200] == pytest.approx(3.9)
    assert reader.clock.clocks == 1


def test_a_recording_that_does_not_say_when_it_begins_begins_with_its_first_timestamp() -> None:
    reader = Reader(None)
    reader.both(7.5, 4)
    assert reader.sounds[0] == reader.pictures[0] == 0.0


def test_a_recording_that_follows_begins_where_the_one_before_ended() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    for origin_s in (0.0, 4.0, 7200.0):  # also where its clock would have gone on, or jumps
        reader.clock.begin(origin_s, reader.heard_s)
        reader.both(origin_s, 4)
    assert reader.sounds == pytest.approx([n / 50 for n in range(800)])
    assert reader.pictures == pytest.approx([n / 25 for n in range(400)])
    assert reader.clock.clocks == 4


def test_a_recording_that_follows_waits_for_the_pictures_of_the_one_before() -> None:
    reader = Reader()
    reader.both(0.0, 4)
    reader.film(4.0, 2)
    reader.clock.begin(None, reader.heard_s)
    reader.sound(9.0, 1)
    assert reader.sounds[200] == reader.pictures[-1] == pytest.approx(5.96)


def test_a_short_recording_is_not_taken_for_an_overlap() -> None:
    reader = Reader()
    reader.sound(0.0, 0.2)
    reader.clock.begin(0.0, reader.heard_s)
    reader.sound(0.0, 0.2)
    assert reader.sounds == pytest.approx([n / 50 for n in range(20)])
