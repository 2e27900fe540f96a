"""What operators see, and do."""

import json
import uuid

import aio_pika
import pytest

from reelgate_common import topology


@pytest.fixture
async def operations(page, stack):
    """The page of an operator."""
    await page.sign_in(stack.env["ADMIN_KEY"])
    await page.click("link", "Operations")
    await page.find("heading", "Operations")
    return page


@pytest.fixture
def figure(operations):
    """Wait until a number of the page is this."""

    async def shows(name, value):
        script = """
            [...document.querySelectorAll(".figures dt")].find((one) => one.textContent === arguments[0])
              ?.nextElementSibling.querySelector(".figure").textContent === arguments[1]
        """
        await operations.until(script.strip(), name, value)

    return shows


async def test_after_a_fault_it_says_that_nothing_is_sent_and_why_until_it_is_over(
    operations, stack, api, vendor, wallet, figure
):
    await operations.says("Jobs are being sent.")
    await vendor(refuse_all=402)
    job_id = await stack.create(api, "A clock", wallet)

    await operations.says("Nothing is sent to Kie.ai", "402")
    await figure("Waiting", "1")

    await vendor(refuse_all=None)
    await stack.reached(job_id, "completed")
    await operations.says("Jobs are being sent.")
    await figure("Waiting", "0")


async def test_sends_are_paused_and_go_on_by_hand(operations, stack, api, wallet):
    await operations.write("Why sends are paused", "a look at the account")
    await operations.click("button", "Pause sends")
    await operations.says("Nothing is sent to Kie.ai", "paused by an operator: a look at the account")
    job_id = await stack.create(api, "A clock", wallet)

    await operations.click("button", "Let sends go on")

    await operations.says("Jobs are being sent.")
    await stack.reached(job_id, "completed")


async def test_a_dead_letter_is_seen_and_sent_back(operations, stack, api, wallet, figure):
    job_id = await stack.create(api, "A clock", wallet)
    await stack.reached(job_id, "completed")
    body = {
        "event_id": str(uuid.uuid4()),
        "schema_version": 1,
        "job_id": job_id,
        "job_version": 1,
        "occurred_at": "2026-01-01T00:00:00Z",
    }
    await park(stack, json.dumps(body), queue=topology.JOB_REQUESTED.name, reason="<i>failed</i> 8 times")
    await figure("Dead letters", "1")
    await operations.says("<i>failed</i> 8 times")

    await operations.click("button", "Replay")

    await operations.says("Nothing failed every round.")
    await figure("Dead letters", "0")


async def park(stack, body, *, queue, reason):
    connection = await aio_pika.connect(stack.env["AMQP_URL"])
    async with connection, connection.channel() as channel:
        headers = {"x-parked-from": queue, "x-parked-reason": reason}
        message = aio_pika.Message(body.encode(), message_id=uuid.uuid4().hex, headers=headers)
        await channel.default_exchange.publish(message, topology.PARKED)


async def test_a_job_is_found_by_its_task_and_its_life_is_a_picture(operations, stack, api, wallet):
    job_id = await stack.create(api, "A clock with a name", wallet)
    await stack.reached(job_id, "completed")
    task = (await stack.job(job_id))["task_id"]
    await operations.write("Search for a job", task)
    await operations.click("button", "Search")
    await operations.says("by task", wallet)

    await operations.click("link", "A clock with a name")
    await operations.find("video", "The video")
    await operations.browser.click(".story summary")

    await operations.says("accepted", "claimed", "submitted", "completed")
    told = await operations.browser.run("return document.querySelector('.timeline svg').getAttribute('aria-label')")
    assert told.startswith("Time line: Waiting ")


async def test_jobs_over_time_are_a_picture_and_a_table(operations, stack, api, wallet):
    job_id = await stack.create(api, "Something sim:policy", wallet)
    await stack.reached(job_id, "failed")

    await operations.until("document.querySelector('.chart svg')?.getAttribute('aria-label').includes('Failed')")
    await operations.browser.click("#chart summary")

    await operations.says("From", "Failed")


async def test_who_is_no_operator_does_not_get_there(page, stack, wallet):
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)

    await page.open("#/operations")

    await page.find("button", "Create video")
    assert "Operations" not in await page.says("Create")
