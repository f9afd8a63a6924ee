"""Arrays to messages and back."""

import numpy as np
import pytest


def test_matrices_survive_the_way_there_and_back():
    from octet_client._tensors import to_array, to_tensor

    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float16):
        matrix = rng.normal(size=(3, 5)).astype(dtype)
        back = to_array(to_tensor(matrix))
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, matrix)
    transposed = rng.normal(size=(3, 5)).astype(np.float32).T
    np.testing.assert_array_equal(to_array(to_tensor(transposed)), transposed)
    assert to_array(to_tensor(np.zeros((2, 2), np.float64))).dtype == np.float32


def test_tokens_are_concatenated_without_padding():
    from octet_client._tensors import to_inputs

    tokens = to_inputs(tokens=[[1, 2, 3], np.array([4]), (5, 6)]).tokens
    assert list(tokens.ids) == [1, 2, 3, 4, 5, 6]
    assert list(tokens.lengths) == [3, 1, 2]
    matrix = to_inputs(tokens=np.array([[1, 2], [3, 4]])).tokens
    assert list(matrix.ids) == [1, 2, 3, 4]
    assert list(matrix.lengths) == [2, 2]


def test_what_is_no_input_is_a_value_error():
    from octet_client._tensors import to_inputs, to_tensor

    with pytest.raises(ValueError, match="matrix"):
        to_tensor(np.zeros(3))
    with pytest.raises(ValueError, match="either"):
        to_inputs()
    with pytest.raises(ValueError, match="either"):
        to_inputs([[1]], np.zeros((1, 1)))


@pytest.mark.parametrize(
    "tokens", [[1, 2], [[1], [2.5]], [[1], "ab"], [[True]], [[[1]]]]
)
def test_what_is_no_token_id_is_not_rounded_to_one(tokens):
    from octet_client._tensors import to_inputs

    with pytest.raises(ValueError, match="sequence of integers"):
        to_inputs(tokens=tokens)


def test_scheme_names_that_do_not_exist_are_answered_with_those_that_do():
    import octet_client

    with (
        octet_client.Client("127.0.0.1:1") as client,
        pytest.raises(ValueError, match="w8a8_static"),
    ):
        client.start_quantization("c", "b", scheme="int4")
