"""The hook in a page, in a browser, against a whole gateway with the simulator."""

import asyncio

import pytest
from fault_proxy import Toward


async def test_a_video_is_made_and_shown(browser, across_origins, charges):
    await across_origins()
    await browser.click("#generate")

    url = await browser.shows("video[src]", "") or await browser.run("return document.querySelector('video').src")

    assert await browser.text("#history") == "pending processing completed"
    assert await browser.text("#isGenerating") == "false"
    assert (url, await charges()) == (await browser.text("#videoUrl"), [-4])


async def test_a_refused_video_tells_why_and_that_it_was_refunded(browser, across_origins, charges):
    await across_origins(prompt="Something sim:policy")
    await browser.click("#generate")

    await browser.shows("#refunded", "true")

    assert "violating content policies" in await browser.text("#error")
    assert await browser.text("#status") == "failed"
    assert await browser.text("#isGenerating") == "false"
    assert await browser.text("#kind") == "job"
    assert await browser.text("#failure") in {"content", "generation_failed"}
    assert await charges() == [-4, 4]


async def test_without_enough_credits_it_tells_the_balance_and_the_cost(browser, across_origins, charges):
    await across_origins()
    await browser.click("#generate")
    await browser.shows("#status", "completed")

    await browser.click("#generate")

    assert await browser.shows("#short") == "2 of 4"
    assert await browser.text("#code") == "insufficient_credits"
    assert await browser.text("#isGenerating") == "false"
    assert await browser.text("#videoUrl") == "null"
    assert await charges() == [-4]


async def test_a_double_click_makes_one_job(browser, server, through_server, charges):
    await through_server()
    await browser.run("const b = document.querySelector('#generate'); b.click(); b.click()")

    await browser.shows("#status", "completed")

    assert server.requests.count("POST /api/video/generate") == 1
    assert await charges() == [-4]


async def test_a_click_while_it_generates_makes_no_other_job(
    browser, server, through_server, paused, charges, eventually
):
    await through_server(differing="")
    await browser.click("#generate")
    await eventually(lambda: "POST /api/video/generate" in server.requests)

    await browser.click("#generate")  # another request: it joins the one under way
    await asyncio.to_thread(paused.resume)
    await browser.shows("#status", "completed")

    assert server.requests.count("POST /api/video/generate") == 1
    assert await charges() == [-4]


async def test_after_a_reload_the_same_job_goes_on(browser, through_server, paused, server, charges):
    await through_server()
    await browser.click("#generate")
    await browser.shows("#state", "pending")
    before = await browser.text("#jobId")

    await browser.reload()
    await browser.shows("#state", "pending")
    await asyncio.to_thread(paused.resume)
    await browser.shows("#status", "completed")

    assert await browser.text("#jobId") == before
    assert server.requests.count("POST /api/video/generate") == 1
    assert await charges() == [-4]


async def test_a_reload_before_the_answer_makes_no_second_job(browser, across_origins, line, charges):
    await across_origins()
    answer = line.trap(b"POST /api/video/generate", Toward.SERVER, stops=Toward.CLIENT)
    await browser.click("#generate")
    await answer.sprung.wait()

    await browser.reload()
    await browser.shows("#status", "completed")

    assert await charges() == [-4]


async def test_a_lost_answer_is_asked_for_again(browser, across_origins, line, charges):
    await across_origins()
    answer = line.trap(b"POST /api/video/generate", Toward.SERVER, stops=Toward.CLIENT)
    await browser.click("#generate")
    await answer.sprung.wait()

    line.cut()
    await browser.shows("#status", "completed")

    assert await charges() == [-4]


async def test_a_button_pressed_again_after_giving_up_finds_the_first_job(
    browser, across_origins, line, charges, eventually
):
    await across_origins()
    answer = line.trap(b"POST /api/video/generate", Toward.SERVER, stops=Toward.CLIENT)
    await browser.click("#generate")
    await answer.sprung.wait()
    await eventually(charges)
    line.refuse()
    await browser.shows("#kind", "network")
    assert await browser.text("#isGenerating") == "false"

    await line.heal()
    await browser.reload()
    await browser.shows("#isGenerating", "false")  # not without a click
    await browser.click("#generate")
    await browser.shows("#status", "completed")

    assert await charges() == [-4]


async def test_a_stream_that_breaks_is_taken_up_again(browser, across_origins, line, paused, charges):
    await across_origins()
    await browser.click("#generate")
    await browser.shows("#state", "pending")

    line.cut()
    await asyncio.to_thread(paused.resume)
    await browser.shows("#status", "completed")

    assert await browser.text("#error") == "null"
    assert await charges() == [-4]


@pytest.mark.parametrize("streams", ["refuse", "hold"])
async def test_where_no_stream_comes_through_it_polls(browser, through_server, server, streams):
    server.streams = streams
    await through_server()
    await browser.click("#generate")

    await browser.shows("#status", "completed")

    job = await browser.text("#jobId")
    assert server.requests.count(f"GET /api/video/jobs/{job}/events") == 1
    assert f"GET /api/video/jobs/{job}" in server.requests


async def test_by_polling_a_refund_is_seen_too(browser, through_server, server):
    server.streams = "refuse"
    await through_server(prompt="Something sim:policy")
    await browser.click("#generate")

    await browser.shows("#refunded", "true")

    assert await browser.text("#status") == "failed"


async def test_unmounted_it_asks_no_more_and_mounted_again_it_goes_on(
    browser, through_server, server, stack, paused, eventually, charges
):
    await through_server()
    await browser.click("#generate")
    await browser.shows("#state", "pending")
    job = await browser.text("#jobId")

    await browser.click("#toggle")
    await eventually(lambda: server.open == 0)
    asked = list(server.requests)
    await asyncio.to_thread(paused.resume)
    await stack.reached(job, "completed")
    assert server.requests == asked

    await browser.click("#toggle")
    await browser.shows("#status", "completed")
    assert await browser.text("#jobId") == job
    assert await charges() == [-4]


async def test_polling_ends_with_the_component_too(browser, through_server, server, stack, paused, eventually):
    server.streams = "refuse"
    await through_server()
    await browser.click("#generate")
    await browser.shows("#state", "pending")
    job = await browser.text("#jobId")

    await browser.click("#toggle")
    await eventually(lambda: server.open == 0)
    asked = list(server.requests)
    await asyncio.to_thread(paused.resume)
    await stack.reached(job, "completed")

    assert server.requests == asked


async def test_a_waiting_job_is_canceled_and_refunded(browser, through_server, paused, charges):
    await through_server()
    await browser.click("#generate")
    await browser.shows("#state", "pending")

    await browser.click("#cancel")
    await browser.shows("#refunded", "true")

    assert await browser.text("#state") == "canceled"
    assert await browser.text("#failure") == "canceled"
    assert await charges() == [-4, 4]


async def test_a_job_that_was_sent_cannot_be_canceled_and_goes_on(browser, through_server):
    await through_server(prompt="A cat sim:slow")
    await browser.click("#generate")
    await browser.shows("#state", "processing")

    await browser.click("#cancel")
    assert await browser.shows("#code") == "already_sent"
    assert await browser.text("#isGenerating") == "true"

    await browser.shows("#status", "completed")
    assert await browser.text("#error") == "null"


async def test_a_reset_forgets_and_leaves_the_job_alone(browser, through_server, paused, stack):
    await through_server()
    await browser.click("#generate")
    await browser.shows("#state", "pending")
    job = await browser.text("#jobId")

    await browser.click("#reset")
    await browser.shows("#isGenerating", "false")
    await browser.reload()
    assert await browser.shows("#jobId") == "null"

    await asyncio.to_thread(paused.resume)
    await stack.reached(job, "completed")


async def test_what_the_gateway_refuses_is_told_with_its_code(browser, across_origins, charges):
    await across_origins(token="rg_live_nobody")
    await browser.click("#generate")

    assert await browser.shows("#code") == "unauthorized"
    assert await charges() == []


@pytest.mark.parametrize("react", ["react-18.js", "react-19.js"])
async def test_strict_mode_makes_one_job(browser, through_server, charges, react):
    await through_server(react=react, strict="", **{"at-once": ""})

    await browser.shows("#status", "completed")

    assert await charges() == [-4]


@pytest.mark.parametrize("show", ["guide", "moved", "example"])
async def test_the_guides_hook_and_ours_in_its_place_and_the_example_work(browser, through_server, charges, show):
    await through_server(show=show)
    await browser.click("button")

    await browser.shows("video[src]", "")

    assert await browser.text("p") == "Status: completed"
    assert await charges() == [-4]


async def test_the_guides_hook_shows_a_failure(browser, through_server, charges):
    await through_server(show="guide")
    await browser.click("button")
    await browser.shows("video[src]", "")

    await browser.click("button")

    assert "credits" in await browser.shows("p.error")
    assert await charges() == [-4]
