from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode
from twingateway.cli.client import Api
from twingateway.cli.exit_codes import ExitCode
from twingateway.errors import (
    InvalidConfig,
    InvalidDocument,
    InvalidValue,
    LinkError,
    NotAuthorized,
    NotFound,
    NotRoot,
    Problem,
    StoreFull,
    TwinGatewayError,
    Unavailable,
    all_errors,
)


@pytest.mark.parametrize("error", list(all_errors()), ids=lambda error: error.code)
def test_every_error_comes_back_as_itself(node: FakeNode, error: type[TwinGatewayError]) -> None:
    node.problem("GET", "/twins/x", 500, "A title", "what is wrong", code=error.code)
    with pytest.raises(error) as caught:
        Api(node.url).get("/twins/x")
    assert type(caught.value) is error
    assert caught.value.message == "what is wrong"


def test_problems_come_back_too(node: FakeNode) -> None:
    found = [{"path": "spec.x", "message": "21 is above 20", "rule": "maximum"}]
    node.problem(
        "PATCH", "/a", 422, "A value was refused", "spec.x: 21 is above 20", code="invalid-value", problems=found
    )
    node.problem("PUT", "/b", 422, "The document is not valid", "no", code="invalid-document", problems=found)
    problem = Problem("21 is above 20", "spec.x", "maximum")
    with pytest.raises(InvalidValue) as value:
        Api(node.url).send("PATCH", "/a", body={})
    assert value.value.problem == problem
    with pytest.raises(InvalidDocument) as document:
        Api(node.url).send("PUT", "/b", body={})
    assert document.value.problems == (problem,)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotAuthorized), (404, NotFound), (422, InvalidDocument), (503, Unavailable), (500, TwinGatewayError)],
)
def test_answers_without_a_code_count_by_status(node: FakeNode, status: int, error: type[TwinGatewayError]) -> None:
    node.problem("GET", "/twins", status, "A title", "a detail")
    node.answer_bytes("GET", "/nodes", b"<html>oops</html>", "text/html", status)
    with pytest.raises(error, match="A title: a detail") as caught:
        Api(node.url).get("/twins")
    assert type(caught.value) is error
    with pytest.raises(error, match=f"/nodes answers {status}"):
        Api(node.url).get("/nodes")


def test_another_service_with_json_listens_there(node: FakeNode) -> None:
    node.answer("GET", "/twins", {"status": "fine"})
    with pytest.raises(LinkError, match="not the API of a node"):
        list(Api(node.url).pages("/twins"))


def test_an_address_alone_is_no_url() -> None:
    with pytest.raises(InvalidConfig, match="write http://"):
        Api("127.0.0.1:8080").get("/twins")


def test_one_problem_is_told_once(ask: Run, node: FakeNode) -> None:
    found = [{"path": "step", "message": "'0' is no step", "rule": "format"}]
    node.problem("GET", "/twins", 422, "Not valid", "'0' is no step", code="invalid-document", problems=found)
    assert ask("get", "twins").stderr == "error: '0' is no step\n"


def test_something_else_listens_there(node: FakeNode) -> None:
    node.answer_bytes("GET", "/twins", b"<html>hello</html>", "text/html")
    with pytest.raises(LinkError, match="not the API of a node"):
        Api(node.url).get("/twins")


def test_nobody_listens_there(cli: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = cli("get", "twins", "--api", url)
    assert result.exit_code == ExitCode.NO_CONNECTION
    assert result.stderr.startswith(f"error: no answer from {url}: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://127.0.0.1", "http://no host/"])
def test_a_wrong_url_is_one_line(cli: Run, url: str) -> None:
    result = cli("get", "twins", "--api", url)
    assert result.exit_code in (ExitCode.INVALID, ExitCode.NO_CONNECTION)
    assert result.stderr.startswith("error: ")
    assert "unexpected" not in result.stderr


def test_the_token_is_sent(ask: Run, node: FakeNode, tmp_path: Path) -> None:
    node.answer("GET", "/adapters", {"items": []})
    (tmp_path / "token").write_text("sesame\n")
    assert ask("get", "adapters", "--token-file", tmp_path / "token").exit_code == 0
    assert node.asked[0].headers["authorization"] == "Bearer sesame"


def test_a_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="absent"):
        Api("http://127.0.0.1:1", tmp_path / "absent").get("/twins")


@pytest.mark.parametrize("text", ["", "sesame\nsecret\n", "s\u00e9same"])
def test_what_is_no_token_is_neither_sent_nor_shown(ask: Run, node: FakeNode, tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    result = ask("get", "twins", "--token-file", tmp_path / "token")
    assert result.exit_code == ExitCode.INVALID
    assert result.stderr == f"error: {tmp_path}/token holds no API token, which is one line of plain characters\n"
    assert not node.asked


def test_a_missing_token_exits_with_its_own_code(ask: Run, node: FakeNode) -> None:
    node.problem("GET", "/twins", 401, "A token is needed", "send the node's API token")
    result = ask("get", "twins")
    assert (result.exit_code, result.stderr) == (
        ExitCode.NOT_ALLOWED,
        "error: A token is needed: send the node's API token\n",
    )


def test_a_missing_or_a_wrong_token_says_how_one_is_given(ask: Run, node: FakeNode, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    for given, said in (
        ((), "the node asks for its API token: "),
        (("--token-file", wrong), "this is not the API token of the node: "),
    ):
        node.problem("GET", "/twins", 401, "A token is needed", "as `Authorization: Bearer …`", code="no-token")
        result = ask("get", "twins", *given)
        assert result.exit_code == ExitCode.NOT_ALLOWED
        assert result.stderr == f"error: {said}name its file with --token-file, or in TWINGATEWAY_TOKEN_FILE\n"


def test_the_namespace_is_sent_only_if_it_is_given(ask: Run, node: FakeNode) -> None:
    node.answer("GET", "/models", {"items": []})
    ask("get", "models")
    ask("get", "models", "--namespace", "plant-7")
    assert [asked.query for asked in node.asked] == [{}, {"namespace": ["plant-7"]}]


def test_exit_codes_follow_the_nodes_errors(ask: Run, node: FakeNode) -> None:
    for error in (NotRoot, StoreFull):
        node.problem("PATCH", "/twins/hvac", 409, "No", f"this is {error.code}", code=error.code)
    outcomes = [ask("set", "hvac", "a=1") for _ in range(2)]
    assert [each.exit_code for each in outcomes] == [ExitCode.CONFLICT, ExitCode.STORE]
    assert [each.stderr for each in outcomes] == ["error: this is not-root\n", "error: this is store-full\n"]
