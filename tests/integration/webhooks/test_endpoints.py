"""The API of webhooks: endpoints of a key, their secrets, the log, and sending again."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import WebhookVerificationError

from reelgate_common.domain.job import JobStatus

HOOKS = "/api/webhooks"
NOBODYS = "01890a5d-ac96-774b-bcce-b302099a8057"


def problem(answer):
    return answer.status_code, answer.json()["code"], answer.json().get("field")


# Endpoints ------------------------------------------------------------------------------------------


async def test_an_endpoint_is_made_with_a_secret_of_the_standards_form(api, listener):
    answer = await api.post(HOOKS, json={"url": listener.url, "description": "mine"})

    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{HOOKS}/{made['id']}")
    assert answer.headers["cache-control"] == "no-store"
    assert made.items() >= {"url": listener.url, "events": None, "description": "mine", "disabled": False}.items()
    assert made["secret"].startswith("whsec_")
    assert 24 <= len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) <= 64


async def test_the_secret_is_shown_once(api, endpoint):
    pages = [await api.get(HOOKS), await api.get(f"{HOOKS}/{endpoint.id}")]
    pages.append(await api.patch(f"{HOOKS}/{endpoint.id}", json={"description": "x"}))

    assert all(page.status_code == 200 and "secret" not in page.text for page in pages)


async def test_endpoints_are_listed_oldest_first(api, make_endpoint):
    made = [await make_endpoint(), await make_endpoint()]

    listed = (await api.get(HOOKS)).json()["webhooks"]

    assert [hook["id"] for hook in listed] == [hook.id for hook in made]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": ""}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://user:pass@example.com"}, "url"),
        ({"url": "https://example.com:99999"}, "url"),
        ({"url": "https://example.com/a b"}, "url"),
        ({"url": "https://example.com/\n"}, "url"),
        ({"url": "https://ex\u00e4mple.com/"}, "url"),
        ({"url": f"https://example.com/{'x' * 2048}"}, "url"),
        ({"url": "https://example.com", "events": []}, "events"),
        ({"url": "https://example.com", "events": ["job.requested"]}, "events"),
        ({"url": "https://example.com", "description": "\x00"}, "description"),
    ],
)
async def test_a_bad_endpoint_is_refused_naming_the_field(api, body, field, stored):
    assert problem(await api.post(HOOKS, json=body)) == (400, "invalid_input", field)
    assert await stored.count("webhook_endpoints") == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "https://db.internal/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
async def test_only_public_https_urls_are_taken_unless_private_ones_are_allowed(open_api, make_key, url):
    async with open_api(webhook_allow_private=False) as strict:
        answer = await strict.post(HOOKS, json={"url": url}, headers=await make_key())

    assert problem(answer) == (400, "invalid_input", "url")


async def test_a_public_https_url_is_taken(open_api, make_key):
    async with open_api(webhook_allow_private=False) as strict:
        answer = await strict.post(HOOKS, json={"url": "https://example.com:8443/h?x=1"}, headers=await make_key())

    assert answer.status_code == 201


async def test_a_key_has_at_most_twenty_endpoints(api, make_endpoint):
    made = [await make_endpoint() for _ in range(20)]

    too_many = await api.post(HOOKS, json={"url": made[0].listener.url})
    await api.delete(f"{HOOKS}/{made[0].id}")
    fits_again = await api.post(HOOKS, json={"url": made[0].listener.url})

    assert (problem(too_many)[:2], fits_again.status_code) == ((400, "invalid_input"), 201)


async def test_a_change_leaves_the_rest_as_it_was(api, make_endpoint):
    endpoint = await make_endpoint(events=["job.failed"], description="mine")

    changed = (await api.patch(f"{HOOKS}/{endpoint.id}", json={"description": "ours"})).json()
    all_events = (await api.patch(f"{HOOKS}/{endpoint.id}", json={"events": None})).json()

    assert (changed["events"], changed["description"], changed["url"]) == (
        ["job.failed"],
        "ours",
        endpoint.listener.url,
    )
    assert all_events["events"] is None


@pytest.mark.parametrize(
    ("body", "field"), [({"url": "x"}, "url"), ({"events": ["x"]}, "events"), ({"disabled": "no"}, "disabled")]
)
async def test_a_bad_change_changes_nothing(api, endpoint, body, field):
    before = (await api.get(f"{HOOKS}/{endpoint.id}")).json()

    answer = await api.patch(f"{HOOKS}/{endpoint.id}", json=body)

    assert problem(answer) == (400, "invalid_input", field)
    assert (await api.get(f"{HOOKS}/{endpoint.id}")).json() == before


async def test_a_null_where_a_value_belongs_is_refused(api, endpoint):
    for name in ("url", "disabled"):
        assert problem(await api.patch(f"{HOOKS}/{endpoint.id}", json={name: None})) == (400, "invalid_input", name)


async def test_a_change_of_url_sends_what_waits_to_the_new_one(api, endpoint, sender, make_job, later):
    endpoint.listener.say(500)
    await make_job(JobStatus.COMPLETED)
    await sender.run_once()

    await api.patch(f"{HOOKS}/{endpoint.id}", json={"url": f"{endpoint.listener.url}?new"})
    await later()
    await sender.run_once()

    assert [headers["request"] for headers, _ in endpoint.listener.requests] == ["/hook", "/hook?new"]


@pytest.mark.parametrize(
    ("body", "forgotten"),
    [({"url": "http://127.0.0.1/new"}, True), ({"disabled": False}, True), ({"description": "x"}, False)],
)
async def test_an_endpoint_that_was_mended_starts_with_a_clean_slate(api, endpoint, stored, body, forgotten):
    await stored.run(
        "UPDATE webhook_endpoints SET failing_since = now(), disabled_at = now(), disabled_reason = 'failing'"
    )

    changed = (await api.patch(f"{HOOKS}/{endpoint.id}", json=body)).json()

    assert (changed["failing_since"] is None) is forgotten
    assert changed["disabled"] is ("disabled" not in body)


async def test_a_deleted_endpoint_is_gone_with_what_waited(api, endpoint, sender, make_job, stored):
    await make_job(JobStatus.COMPLETED)

    deleted = await api.delete(f"{HOOKS}/{endpoint.id}")
    await make_job(JobStatus.COMPLETED)

    assert deleted.status_code == 204
    assert problem(await api.get(f"{HOOKS}/{endpoint.id}"))[:2] == (404, "not_found")
    assert (await api.get(HOOKS)).json() == {"webhooks": []}
    assert (await sender.run_once(), await stored.count("webhook_deliveries")) == (0, 1)


async def call_all(api, endpoint_id, delivery_id, headers=None):
    """Every request that names an endpoint or a delivery."""
    span = {"from": "2020-01-01T00:00:00Z", "to": "2120-01-01T00:00:00Z", "state": "all"}
    hook = f"{HOOKS}/{endpoint_id}"
    delivery = f"{HOOKS}/deliveries/{delivery_id}"
    return [
        await api.request(method, url, json=body, headers=headers)
        for method, url, body in (
            ("GET", hook, None),
            ("PATCH", hook, {"disabled": True}),
            ("DELETE", hook, None),
            ("POST", f"{hook}/rotate-secret", None),
            ("POST", f"{hook}/test", None),
            ("GET", f"{hook}/deliveries", None),
            ("POST", f"{hook}/replay", span),
            ("GET", delivery, None),
            ("POST", f"{delivery}/replay", None),
        )
    ]


async def test_other_peoples_webhooks_are_not_there(api, endpoint, make_key, make_job, sender, stored, deliveries):
    await make_job(JobStatus.COMPLETED)
    await sender.run_once()
    [delivery] = await deliveries()
    before = await stored.rows("SELECT * FROM webhook_endpoints"), await deliveries()

    answers = await call_all(api, endpoint.id, delivery["id"], headers=await make_key())

    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await stored.rows("SELECT * FROM webhook_endpoints"), await deliveries()) == before


async def test_nobodys_webhooks_are_not_there_either(api):
    answers = await call_all(api, NOBODYS, NOBODYS)

    assert [answer.status_code for answer in answers] == [404] * len(answers)


async def test_what_is_no_id_is_refused(api):
    answers = await call_all(api, "x", "x")

    assert [problem(answer) for answer in answers] == [(400, "invalid_input", "id")] * len(answers)


async def test_webhooks_belong_to_a_key_even_where_none_is_asked_for(open_api, endpoint):
    async with open_api(auth_mode="open") as client:
        answers = [
            await client.get(HOOKS),
            await client.get(f"{HOOKS}/secret"),
            *await call_all(client, endpoint.id, NOBODYS),
        ]

    assert [answer.status_code for answer in answers] == [401] * len(answers)


# Secrets --------------------------------------------------------------------------------------------


async def test_after_a_rotation_both_secrets_verify_for_a_day(api, endpoint, sender, make_job, stored):
    await make_job(JobStatus.COMPLETED)

    rotated = (await api.post(f"{HOOKS}/{endpoint.id}/rotate-secret")).json()
    await sender.run_once()

    assert rotated["secret"] != endpoint.secret
    assert endpoint.verify(secret=rotated["secret"]) == endpoint.verify()
    left = datetime.fromisoformat(rotated["previous_secret_valid_until"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)


async def test_after_that_day_only_the_new_one_does(api, endpoint, sender, make_job, stored):
    rotated = (await api.post(f"{HOOKS}/{endpoint.id}/rotate-secret")).json()
    await stored.run("UPDATE webhook_endpoints SET previous_until = now()")
    await make_job(JobStatus.COMPLETED)

    await sender.run_once()

    assert endpoint.verify(secret=rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        endpoint.verify()


async def test_two_endpoints_have_two_secrets(make_endpoint):
    assert (await make_endpoint()).secret != (await make_endpoint()).secret


# The log --------------------------------------------------------------------------------------------


async def test_a_test_event_is_sent_and_its_delivery_shows_how_it_went(api, endpoint, sender):
    endpoint.listener.say(500)

    queued = await api.post(f"{HOOKS}/{endpoint.id}/test")
    await sender.run_once()

    assert endpoint.verify()["type"] == "webhook.test"
    shown = (await api.get(f"{HOOKS}/deliveries/{queued.json()['delivery_id']}")).json()
    assert (queued.status_code, shown["state"], shown["url"]) == (202, "pending", endpoint.listener.url)
    assert shown["payload"] == endpoint.verify()
    [attempt] = shown["log"]
    assert (attempt["n"], attempt["status"], attempt["error"], attempt["answer"]) == (1, 500, "HTTP 500", "said")


async def test_a_test_of_a_disabled_endpoint_says_what_to_do(api, endpoint):
    await api.patch(f"{HOOKS}/{endpoint.id}", json={"disabled": True})

    answer = await api.post(f"{HOOKS}/{endpoint.id}/test")

    assert (answer.status_code, answer.json()["error"]) == (400, "This webhook is disabled: enable it first")


async def test_the_log_is_read_page_by_page_newest_first(api, endpoint, make_job):
    jobs = [str((await make_job(JobStatus.COMPLETED)).id) for _ in range(5)]

    seen, cursor = [], {}
    while True:
        page = (await api.get(f"{HOOKS}/{endpoint.id}/deliveries", params={"limit": 2} | cursor)).json()
        seen += [delivery["job_id"] for delivery in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == jobs[::-1]


async def test_the_log_shows_one_state_when_asked(api, endpoint, sender, make_job):
    endpoint.listener.say(410)
    await make_job(JobStatus.COMPLETED)
    await sender.run_once()

    log = (await api.get(f"{HOOKS}/{endpoint.id}/deliveries", params={"state": "failed"})).json()["deliveries"]

    assert [(entry["type"], entry["last_status"]) for entry in log] == [("job.completed", 410)]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"state": "lost"}])
async def test_a_bad_question_about_the_log_names_its_parameter(api, endpoint, wrong):
    answer = await api.get(f"{HOOKS}/{endpoint.id}/deliveries", params=wrong)

    assert problem(answer) == (400, "invalid_input", next(iter(wrong)))


# Sending again --------------------------------------------------------------------------------------


@pytest.fixture
async def done(endpoint, sender, make_job, deliveries):
    """Two deliveries: the first was taken, the second failed."""
    await make_job(JobStatus.COMPLETED)
    await sender.run_once()
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.say(400)
    await sender.run_once()
    rows = await deliveries()
    return [str(row["id"]) for row in rows]


@pytest.fixture
async def given_up(done, stored):
    await stored.run(
        "UPDATE webhook_deliveries SET state = 'failed', next_attempt_at = NULL, tries = 10 WHERE id = $1", done[1]
    )
    return done


async def test_one_delivery_is_sent_again_under_its_id(api, given_up, endpoint, sender):
    answer = await api.post(f"{HOOKS}/deliveries/{given_up[0]}/replay")
    await sender.run_once()

    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert [headers["webhook-id"] for headers, _ in endpoint.listener.requests] == [*given_up, given_up[0]]
    assert endpoint.verify(0) == endpoint.verify()


async def test_a_delivery_that_was_given_up_gets_the_whole_schedule_again(api, given_up, endpoint, sender, deliveries):
    await api.post(f"{HOOKS}/deliveries/{given_up[1]}/replay")
    endpoint.listener.say(500)
    await sender.run_once()

    delivery = (await deliveries())[1]
    assert (delivery["state"], delivery["tries"], delivery["attempts"]) == ("pending", 1, 2)


async def span(stored, **others):
    start = await stored.value("SELECT min(created_at) FROM webhook_deliveries")
    end = await stored.value("SELECT max(created_at) + interval '1 s' FROM webhook_deliveries")
    return {"from": start.isoformat(), "to": end.isoformat()} | others


@pytest.mark.parametrize(("which", "expected"), [({}, [1]), ({"state": "failed"}, [1]), ({"state": "all"}, [0, 1])])
async def test_a_span_of_time_is_sent_again(api, given_up, endpoint, sender, stored, which, expected):
    answer = await api.post(f"{HOOKS}/{endpoint.id}/replay", json=await span(stored, **which))
    await sender.run_once()

    assert (answer.status_code, answer.json()) == (202, {"replayed": len(expected), "next_from": None})
    again = sorted(headers["webhook-id"] for headers, _ in endpoint.listener.requests[2:])
    assert again == [given_up[n] for n in expected]


async def test_the_end_of_a_span_is_not_in_it(api, given_up, endpoint, stored):
    end = (await stored.value("SELECT max(created_at) FROM webhook_deliveries")).isoformat()

    answer = await api.post(f"{HOOKS}/{endpoint.id}/replay", json=await span(stored, state="all") | {"to": end})

    assert answer.json()["replayed"] == 1


async def test_a_span_with_more_than_fits_says_where_to_go_on(api, given_up, endpoint, stored, monkeypatch):
    monkeypatch.setattr("reelgate_api.webhooks.handlers._MOST_REPLAYED", 1)
    whole = await span(stored, state="all")

    first = (await api.post(f"{HOOKS}/{endpoint.id}/replay", json=whole)).json()
    second = (await api.post(f"{HOOKS}/{endpoint.id}/replay", json=whole | {"from": first["next_from"]})).json()

    assert (first["replayed"], second["replayed"]) == (1, 1)
    assert await stored.value("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'") == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"from": None}, "from"),
        ({"from": "9" * 30}, "from"),
        ({"to": "2026-01-01T00:00:00"}, "to"),
        ({"to": "2000-01-01T00:00:00Z"}, "to"),
        ({"state": "some"}, "state"),
    ],
)
async def test_a_bad_span_is_refused_naming_the_field(api, given_up, endpoint, stored, wrong, field):
    answer = await api.post(f"{HOOKS}/{endpoint.id}/replay", json=await span(stored) | wrong)

    assert problem(answer) == (400, "invalid_input", field)
