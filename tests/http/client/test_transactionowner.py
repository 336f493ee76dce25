"""An owner of a transaction that has said nothing of its own: it hears all, does nothing, and takes no answer whole."""
from icey.http.client.transactionowner import TransactionOwner


def test_it_does_nothing_by_itself():
    owner = TransactionOwner()
    assert owner.takes_whole(None, 0) is False
    assert owner.request_sent(b"") is owner.answer_head(None) is owner.answer_body(None, memoryview(b"")) is None
    assert owner.answer_end() is None
