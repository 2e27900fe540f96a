"""The create call on a bad day: refusals, lost answers, unreadable answers; and what became of the task."""

import asyncio

import httpx
import pytest


@pytest.mark.parametrize("code", [400, 401, 402, 404, 422, 433, 451, 455, 500, 501, 505])
async def test_a_refusal_is_http_200_with_its_code_and_no_task(kie, code):
    before = await kie.credit()

    answer = await kie.generate(f"sim:refuse-{code}")

    assert (answer.status_code, answer.json()["code"]) == (200, code)
    assert answer.json()["msg"]
    assert await kie.tasks() == []
    assert await kie.credit() == before
    assert (await kie.stats())["refused"] == {str(code): 1}


async def test_402_may_come_as_500(kie):
    body = (await kie.generate("sim:refuse-402-as-500")).json()

    assert body["code"] == 500
    assert body["msg"].startswith("Credits insufficient")


async def test_the_edge_may_refuse_with_a_bare_403(kie):
    answer = await kie.generate("sim:http-403-1010")

    assert (answer.status_code, answer.text) == (403, "error code: 1010")
    assert answer.headers["content-type"].startswith("text/plain")
    assert await kie.tasks() == []


@pytest.mark.parametrize(("word", "status"), [("sim:http-408", 408), ("sim:submit-500", 500)])
async def test_a_real_http_error_creates_no_task(kie, word, status):
    assert (await kie.generate(word)).status_code == status

    assert await kie.tasks() == []
    assert (await kie.stats())["refused"] == {f"http-{status}": 1}


@pytest.mark.parametrize(("word", "code"), [("sim:throttle", 429), ("sim:throttle-430", 430)])
async def test_a_throttled_prompt_is_taken_the_second_time(kie, word, code):
    codes = [(await kie.generate(f"a cat {word}")).json()["code"] for _ in range(3)]

    assert codes == [code, 200, 200]
    stats = await kie.stats()
    assert stats["sends_by_prompt"] == {f"a cat {word}": 3}
    assert stats["accepted_by_prompt"] == {f"a cat {word}": 2}


@pytest.mark.parametrize("word", ["sim:submit-timeout", "sim:submit-reset"])
async def test_a_lost_answer_leaves_a_billed_task_that_calls_back(kie, word):
    before = await kie.credit()

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await kie.generate(word)

    (body,) = await kie.receiver.wait_for()
    (task,) = await kie.tasks()
    assert body["data"]["taskId"] == task["taskId"]
    assert await kie.credit() == before - 60


async def test_a_reset_is_a_reset_and_no_clean_close(kie):
    with pytest.raises(httpx.ReadError):
        await kie.generate("sim:submit-reset")


async def test_a_client_may_give_up_on_a_hanging_answer(kie):
    await kie.configure(submit_timeout_seconds=60)

    with pytest.raises(httpx.ReadTimeout):
        await kie.http.post("/api/v1/veo/generate", json={"prompt": "sim:submit-timeout"}, timeout=0.1)

    assert len(await kie.tasks()) == 1


async def test_a_dropped_request_creates_no_task(kie):
    before = await kie.credit()

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await kie.generate("sim:submit-drop")

    assert await kie.tasks() == []
    assert await kie.credit() == before
    assert (await kie.stats())["refused"] == {"dropped": 1}


async def test_an_html_502_hides_a_task(kie):
    answer = await kie.generate("sim:submit-502-html")

    assert answer.status_code == 502
    assert answer.text.startswith("<html>")
    assert len(await kie.tasks()) == 1


async def test_broken_json_hides_a_task(kie):
    answer = await kie.generate("sim:submit-garbage")

    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert len(await kie.tasks()) == 1


async def test_a_success_may_lack_the_task_id(kie):
    assert (await kie.generate("sim:no-task-id")).json() == {"code": 200, "msg": "success", "data": {}}

    assert len(await kie.receiver.wait_for()) == 1


async def test_a_callback_may_come_before_the_create_answer(kie):
    kie.receiver.hold.clear()
    sending = asyncio.create_task(kie.generate("sim:early-callback"))
    (body,) = await kie.receiver.wait_for()
    assert not sending.done()

    kie.receiver.hold.set()
    task_id = (await sending).json()["data"]["taskId"]

    assert body["data"]["taskId"] == task_id
    assert (await kie.record(task_id))["data"]["successFlag"] == 1


async def test_an_early_task_without_a_callback_url_is_just_final(kie):
    task_id = await kie.create("sim:early-callback", callBackUrl=None)

    assert (await kie.record(task_id))["data"]["successFlag"] == 1


async def test_a_header_names_scenarios_too(kie):
    answer = await kie.generate("a cat", headers={"X-Sim-Scenario": "submit-garbage, sim:refuse-402"})

    assert answer.json()["code"] == 402


async def test_scenarios_combine(kie):
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await kie.generate("sim:submit-reset sim:policy sim:dup-callback")

    bodies = await kie.receiver.wait_for(3)
    assert [body["code"] for body in bodies] == [400] * 3
