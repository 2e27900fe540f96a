"""The control endpoints: counting, turning knobs, ending tasks and calling back by hand."""

import httpx
import pytest


async def test_stats_account_for_every_send(kie):
    for prompt in ["a", "a", "b", "sim:refuse-402", "sim:submit-500", "sim:submit-garbage"]:
        await kie.generate(prompt)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await kie.generate("sim:submit-drop")
    task_id = (await kie.tasks())[0]["taskId"]
    await kie.record(task_id)
    await kie.record("unknown")

    stats = await kie.stats()

    assert (stats["sends"], stats["accepted"]) == (7, 4)
    assert stats["refused"] == {"402": 1, "http-500": 1, "dropped": 1}
    assert stats["sends"] == stats["accepted"] + sum(stats["refused"].values())
    assert stats["sends_by_prompt"]["a"] == 2
    assert stats["accepted_by_prompt"] == {"a": 2, "b": 1, "sim:submit-garbage": 1}
    assert stats["sends_by_callback_url"] == {kie.receiver.url: 7}
    assert (stats["record_info"], stats["record_info_by_task"]) == (2, {task_id: 1})
    assert stats["credit"] == await kie.credit()


async def test_stats_can_be_asked_for_without_what_grows(kie):
    await kie.create()

    stats = (await kie.http.get("/sim/stats", params={"detail": "false"})).json()

    counts = {"sends", "accepted", "refused", "record_info", "queries_refused", "upgrades", "uploads"}
    assert set(stats) == counts | {"callbacks", "credit"}


async def test_tasks_are_listed_in_order(kie):
    first, second = await kie.create("one"), await kie.create("two", callBackUrl=None)

    tasks = await kie.tasks()

    assert [task["taskId"] for task in tasks] == [first, second]
    assert [task["prompt"] for task in tasks] == ["one", "two"]
    assert [task["callBackUrl"] for task in tasks] == [kie.receiver.url, None]
    assert {"successFlag", "createTime", "completeTime"} <= set(tasks[0])


async def test_reset_forgets_everything_and_turns_the_knobs_back(kie):
    before = (await kie.http.get("/sim/config")).json()
    await kie.configure(video_seconds=0.05, refuse_all=402, hmac_key="k", credits=1)
    await kie.configure(refuse_all=None, credits=60)
    await kie.create()

    await kie.http.post("/sim/reset")

    assert (await kie.http.get("/sim/config")).json() == before
    assert await kie.tasks() == []
    assert (await kie.stats())["sends"] == 0
    await kie.ended(await kie.create())
    assert len(await kie.receiver.wait_for()) == 1


async def test_an_outage_refuses_every_send_until_it_is_over(kie):
    await kie.configure(refuse_all=402)
    assert (await kie.generate()).json()["code"] == 402

    await kie.configure(refuse_all=None)
    assert (await kie.generate()).json()["code"] == 200


async def test_the_whole_vendor_may_be_down(kie):
    task_id = await kie.create()
    await kie.configure(outage_http_status=503)

    for answer in [
        await kie.generate(),
        await kie.http.get(f"/api/v1/veo/record-info?taskId={task_id}"),
        await kie.http.get("/api/v1/chat/credit"),
    ]:
        assert answer.status_code == 503


async def test_default_scenarios_hold_until_a_prompt_says_otherwise(kie):
    await kie.configure(default_scenarios="sim:url-json policy")

    await kie.create("sim:ok")
    (body,) = await kie.receiver.wait_for()

    assert body["code"] == 200
    assert isinstance(body["data"]["info"]["resultUrls"], str)


@pytest.mark.parametrize(
    "changes", [{"video_second": 1}, {"video_seconds": -1}, {"throttle_form": "x"}, {"default_scenarios": "sim:x"}]
)
async def test_a_wrong_knob_is_refused_and_changes_nothing(kie, changes):
    before = (await kie.http.get("/sim/config")).json()

    answer = await kie.http.post("/sim/config", json=changes)

    assert answer.status_code == 422
    assert next(iter(changes)) in answer.text
    assert (await kie.http.get("/sim/config")).json() == before


async def test_a_task_can_be_ended_by_hand(kie):
    task_id = await kie.create("sim:stuck")

    answer = await kie.http.post(f"/sim/tasks/{task_id}/finish", json={"outcome": "sim:policy"})

    assert (answer.status_code, answer.json()["successFlag"]) == (200, 3)
    assert (await kie.record(task_id))["data"]["errorCode"] == 400
    assert (await kie.receiver.wait_for())[0]["code"] == 400
    again = await kie.http.post(f"/sim/tasks/{task_id}/finish", json={})
    assert again.status_code == 409


async def test_a_task_can_be_ended_without_a_callback(kie):
    task_id = await kie.create("sim:stuck")
    await kie.http.post(f"/sim/tasks/{task_id}/finish", json={"callback": False})

    assert (await kie.record(task_id))["data"]["successFlag"] == 1
    assert (await kie.stats())["callbacks"]["sent"] == 0


@pytest.mark.parametrize(
    ("order", "code"), [({}, 200), ({"forged": True}, 501), ({"outcome": "policy"}, 400), ({"outcome": "task_id"}, 200)]
)
async def test_a_callback_can_be_sent_by_hand(kie, order, code):
    task_id = await kie.create("sim:stuck")
    kie.receiver.answers = [404]

    answer = (await kie.http.post(f"/sim/tasks/{task_id}/callback", json=order)).json()

    assert answer["status"] == 404
    (body,) = kie.receiver.bodies
    assert body == answer["body"]
    assert body["code"] == code
    assert (await kie.record(task_id))["data"]["successFlag"] == 0


async def test_a_callback_by_hand_may_hold_anything_and_go_anywhere(kie):
    await kie.configure(hmac_key="k")
    task_id = await kie.create("sim:stuck", callBackUrl=None)

    order = {"body": {"data": {"taskId": "%"}}, "url": kie.receiver.url, "signature": "none"}
    await kie.http.post(f"/sim/tasks/{task_id}/callback", json=order)

    assert kie.receiver.bodies == [{"data": {"taskId": "%"}}]
    assert "x-webhook-signature" not in kie.receiver.headers[0]


@pytest.mark.parametrize(
    ("path", "order", "status"),
    [
        ("unknown/finish", {}, 404),
        ("unknown/callback", {}, 404),
        ("{}/finish", {"outcome": "sim:typo"}, 422),
        ("{}/finish", {"verdict": "ok"}, 422),
        ("{}/callback", {}, 409),
    ],
)
async def test_a_wrong_order_is_refused(kie, path, order, status):
    task_id = await kie.create("sim:stuck", callBackUrl=None)

    answer = await kie.http.post("/sim/tasks/" + path.format(task_id), json=order)

    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_bearer(kie, path):
    answer = await kie.http.get(path, headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_burst_of_tasks_is_called_back_in_full(kie):
    for _ in range(150):
        await kie.create()

    await kie.receiver.wait_for(150)

    assert (await kie.stats())["accepted"] == 150
