"""Normal scores by hand, missing values, unseen words, and statistics that know the training rows and nothing else."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from patron.features.encode import MAX_KNOTS, encode, fit_encoder

NORMAL = NormalDist().inv_cdf
NAN = float("nan")


def scores(train: list[float], asked: list[float]) -> list[float]:
    """The scores of one numeric column."""
    encoder = fit_encoder(pd.DataFrame({"x": train}))
    return encode(encoder, pd.DataFrame({"x": asked}))[:, 0].tolist()


def make_train() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "spend": [0.0, 0.0, 3.0, 9.0, 1.0],
            "geo": ["north", "south", "north", None, "east"],
            "gap": [NAN, 5.0, 7.0, NAN, 5.0],
            "constant": [4.0] * 5,
            "nothing": [NAN] * 5,
            "everywhere": ["web"] * 5,
        }
    )


def test_distinct_values_have_the_scores_of_their_ranks() -> None:
    expected = [NORMAL(p) for p in (0.125, 0.375, 0.625, 0.875)]
    assert scores([40.0, 10.0, 30.0, 20.0], [10.0, 20.0, 30.0, 40.0]) == pytest.approx(expected, abs=1e-6)


def test_ties_share_their_mid_rank() -> None:
    """Of 0, 0, 0, 5: the zeros take the ranks 0 to 3/4, the middle of which is 3/8."""
    expected = [NORMAL(3 / 8), NORMAL(7 / 8)]
    assert scores([0.0, 5.0, 0.0, 0.0], [0.0, 5.0]) == pytest.approx(expected, abs=1e-6)
    expected = [NORMAL(p) for p in (0.1, 0.4, 0.8)]
    assert scores([1.0, 2.0, 2.0, 9.0, 9.0], [1.0, 2.0, 9.0]) == pytest.approx(expected, abs=1e-6)


def test_a_mass_of_zeros_stays_one_point_and_the_rest_apart() -> None:
    train = [0.0] * 90 + [float(k) for k in range(1, 11)]
    zero, one, ten = scores(train, [0.0, 1.0, 10.0])
    assert [zero, one, ten] == pytest.approx([NORMAL(0.45), NORMAL(0.905), NORMAL(0.995)], abs=1e-6)


def test_values_between_and_beyond_those_seen() -> None:
    """Ranks 3/8 of 0 and 7/8 of 4 meet half way at 5/8; nothing lies outside what was seen."""
    expected = [NORMAL(3 / 8), NORMAL(5 / 8), NORMAL(7 / 8)]
    assert scores([0.0, 0.0, 0.0, 4.0], [-1e9, 2.0, 1e300]) == pytest.approx(expected, abs=1e-6)


def test_units_do_not_matter() -> None:
    train, asked = [1.0, 1.0, 3.0, 8.0], [0.0, 1.0, 2.0, 5.0, 9.0]
    euros = scores(train, asked)
    assert scores([100 * x for x in train], [100 * x for x in asked]) == pytest.approx(euros, abs=1e-6)
    assert len(set(euros)) == 4


def sizes(train: list[float], asked: list[float]) -> list[float]:
    encoder = fit_encoder(pd.DataFrame({"x": train}))
    return encode(encoder, pd.DataFrame({"x": asked}))[:, 1].tolist()


def test_sizes_by_hand() -> None:
    """The usual is 1, the median of what is not 0: sizes 0, 0, log 2, log 2 and 3 log 2, about their mean log 2. A debt
    is as far below nothing as a credit is above."""
    train, log2 = [0.0, 1.0, 7.0, 0.0, 1.0], np.log(2)
    expected = (np.array([0, 1, 3]) - 1) * log2 / (np.sqrt(6 / 5) * log2)
    assert sizes(train, [0.0, 1.0, 7.0]) == pytest.approx(expected, abs=1e-6)
    minus, zero, plus = sizes([-3.0, 0.0, 3.0], [-3.0, 0.0, 3.0])
    assert [minus, zero] == pytest.approx([-plus, 0.0], abs=1e-6)
    assert plus == pytest.approx(np.sqrt(3 / 2), abs=1e-6)


def test_sizes_tell_large_from_larger_and_stay_among_those_seen() -> None:
    """Where ranks say next to nothing; not beyond the largest ever seen, and of what is unknown nothing."""
    train = [1.0] * 50 + [2.0] * 48 + [100.0, 10_000.0]
    large, larger, beyond, unknown = sizes(train, [100.0, 10_000.0, 1e300, NAN])
    assert larger - large > 5
    assert beyond == larger
    assert unknown == 0


def test_sizes_are_blind_to_units() -> None:
    train, asked = [0.0, 1.0, 3.0, 8.0], [0.0, 1.0, 2.0, 5.0, 9.0]
    cents = sizes([100 * x for x in train], [100 * x for x in asked])
    assert cents == pytest.approx(sizes(train, asked), abs=1e-6)


def test_two_values_have_no_sizes() -> None:
    """A flag is one already."""
    assert fit_encoder(pd.DataFrame({"x": [0.0, 1.0, 1.0], "y": [0.0, 1.0, 2.0]})).sizes.keys() == {"y"}


def test_what_is_missing_is_zero_with_a_flag() -> None:
    encoder = fit_encoder(pd.DataFrame({"gap": [NAN, 5.0, 7.0, NAN]}))
    encoded = encode(encoder, pd.DataFrame({"gap": [NAN, 5.0, 7.0]}))
    assert encoder.flagged == ("gap",)
    expected = [[0, 1], [NORMAL(0.25), 0], [NORMAL(0.75), 0]]  # ranks among the two values seen
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


def test_what_was_never_missing_has_no_flag_and_is_zero_when_it_is() -> None:
    encoder = fit_encoder(pd.DataFrame({"x": [1.0, 2.0]}))
    assert encoder.flagged == ()
    assert encode(encoder, pd.DataFrame({"x": [NAN, 2.0]}))[0].tolist() == [0.0]


def test_words_are_one_hot_by_frequency_then_alphabet() -> None:
    encoder = fit_encoder(make_train())
    assert encoder.vocabulary == {"geo": ("north", "east", "south")}
    words = encode(encoder, make_train())[:, -3:]
    assert words.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_unseen_rare_and_missing_words_are_all_zero() -> None:
    encoder = fit_encoder(pd.DataFrame({"geo": ["b", "a", "b", "c", "c", "d"]}), max_words=2)
    assert encoder.vocabulary == {"geo": ("b", "c")}
    encoded = encode(encoder, pd.DataFrame({"geo": ["c", "a", "zzz", None]}))
    assert encoded.tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]


def test_columns_that_do_not_vary_are_dropped() -> None:
    encoder = fit_encoder(make_train())
    assert set(encoder.knots) == {"spend", "gap"}
    assert set(encoder.vocabulary) == {"geo"}
    still = make_train()[["constant", "nothing", "everywhere"]]
    assert encode(fit_encoder(still), still).shape == (5, 0)


def test_width_is_that_of_the_result() -> None:
    encoder = fit_encoder(make_train())
    encoded = encode(encoder, make_train())
    assert encoder.width == 2 + 1 + 1 + 3  # two numbers, the size of the spend, the flag of the gap, three words
    assert encoded.shape == (5, encoder.width)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()


def test_one_value_with_gaps_keeps_its_flag_or_its_word() -> None:
    """That it is missing says something, though the value does not."""
    train = pd.DataFrame(
        {"once": [1.0, NAN, 1.0], "said": ["yes", None, "yes"], "never": [NAN] * 3, "mute": [None] * 3}
    )
    encoder = fit_encoder(train)
    assert (dict(encoder.knots), encoder.flagged, dict(encoder.vocabulary)) == ({}, ("once",), {"said": ("yes",)})
    np.testing.assert_array_equal(encode(encoder, train), [[0, 1], [1, 0], [0, 1]])


@pytest.mark.parametrize("kind", ["object", "string", "str", "category"])
def test_a_missing_word_is_all_zero_whatever_the_text_s_type(kind: str) -> None:
    train = pd.DataFrame({"geo": pd.Series(["north", None, "south", "north"], dtype=kind)})
    np.testing.assert_array_equal(encode(fit_encoder(train), train), [[1, 0], [0, 0], [0, 1], [1, 0]])


def test_rows_are_encoded_by_training_statistics_alone() -> None:
    """A row's code depends neither on the rows beside it nor on columns the encoder never saw."""
    encoder = fit_encoder(make_train())
    later = pd.DataFrame({"geo": ["west", "south"], "new": [1, 2], "gap": [900.0, NAN], "spend": [-5.0, 1e6]})
    together = encode(encoder, pd.concat([make_train(), later], ignore_index=True))
    np.testing.assert_array_equal(together[:5], encode(encoder, make_train()))
    np.testing.assert_array_equal(together[5:], encode(encoder, later))
    grown = fit_encoder(pd.concat([make_train(), later.drop(columns="new")], ignore_index=True))
    assert not np.array_equal(encode(grown, make_train())[:, 0], together[:5, 0])


def test_the_order_of_training_rows_does_not_matter() -> None:
    straight, turned = (encode(fit_encoder(train), make_train()) for train in (make_train(), make_train()[::-1]))
    np.testing.assert_array_equal(straight, turned)


def test_many_values_keep_their_order_and_nearly_their_ranks() -> None:
    train = np.random.default_rng(0).lognormal(3, 2, 5 * MAX_KNOTS)
    encoder = fit_encoder(pd.DataFrame({"x": train}))
    seen, rank = encoder.knots["x"]
    assert len(seen) == len(rank) == MAX_KNOTS
    assert (seen[0], seen[-1]) == (train.min(), train.max())
    encoded = encode(encoder, pd.DataFrame({"x": np.sort(train)}))[:, 0]
    exact = [NORMAL((k + 0.5) / len(train)) for k in range(len(train))]
    assert (np.diff(encoded) >= 0).all()
    np.testing.assert_allclose(encoded[50:-50], exact[50:-50], atol=0.02)


def test_rows_are_encoded_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_train()
    encoder, asked = fit_encoder(frame), pd.concat([frame] * 9, ignore_index=True)
    whole = encode(encoder, asked)
    monkeypatch.setattr("patron.features.encode.BLOCK", 7)
    np.testing.assert_array_equal(encode(encoder, asked), whole)
    assert whole.dtype == np.float32
    assert whole.shape == (45, encoder.width)
