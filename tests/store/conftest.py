import pytest

pytest.register_assert_rewrite(
    "twingateway.testing.store_contract",
    "twingateway.testing.journal_contract",
    "twingateway.testing.history_contract",
)
