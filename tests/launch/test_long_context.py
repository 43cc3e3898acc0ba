"""What the long-context bench reads from compiled programs: memory in proportion to the length."""

from launch.benches import long_context


def test_the_memory_of_a_gradient_is_linear_in_the_columns_of_a_row():
    """Also what no layer changes, as the masks of all blocks, must not be kept over the layers."""
    short, long = (
        long_context.gradient(width)[0].memory_analysis().temp_size_in_bytes
        for width in (4096, 8192)
    )
    assert 0 < long < 2.1 * short
