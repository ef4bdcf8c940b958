"""Jobs in processes of LiveKit's own, which end as LiveKit ends them."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit import agents
from livekit.protocol import models

from tests.agent.job_agent import BY_HAND, entrypoint, judge
from tests.intake import Intake

if TYPE_CHECKING:
    from pathlib import Path


def _no_load(_: object) -> float:
    return 0.0


def _no_setup(_: object) -> None:
    pass


async def run_in_pool(data_dir: Path) -> None:
    """Run the agent as a worker before 1.3.1 does, whose jobs all come from a LiveKit server."""
    from livekit.agents.ipc.proc_pool import ProcPool
    from livekit.agents.job import JobAcceptArguments, RunningJobInfo
    from livekit.protocol.agent import Job

    # Any: what this SDK wants, which is not the one that is installed for type checkers.
    options: dict[str, Any] = {
        "initialize_process_fnc": _no_setup,
        "job_entrypoint_fnc": entrypoint,
        "num_idle_processes": 0,
        "initialize_timeout": 60.0,
        "close_timeout": 60.0,
        "inference_executor": None,
        "job_executor_type": agents.JobExecutorType.PROCESS,
        "mp_ctx": multiprocessing.get_context("spawn"),
        "memory_warn_mb": 0.0,
        "memory_limit_mb": 0.0,
        "http_proxy": None,
        "loop": asyncio.get_running_loop(),
    }
    pool = ProcPool(**options)
    await pool.start()
    job: dict[str, Any] = {
        "accept_arguments": JobAcceptArguments(name="", identity="agent", metadata=""),
        "job": Job(id="job", room=models.Room(name="room", metadata=str(data_dir))),
        "url": "ws://127.0.0.1:1",
        "token": "",
        "worker_id": "worker",
    }
    await pool.launch_job(RunningJobInfo(**job))
    async with asyncio.timeout(60):
        while pool.processes:  # the pool announces no ends
            await asyncio.sleep(0.05)
    await pool.aclose()


async def run_job(data_dir: Path) -> bool:
    """Run the agent in a job process to its end; whether LiveKit has `on_session_end`."""
    if not hasattr(agents, "AgentServer"):
        await run_in_pool(data_dir)
        return False
    server = agents.AgentServer(
        host="127.0.0.1",
        port=0,
        num_idle_processes=0,
        load_fnc=_no_load,
        # Asked for, and not used by a server that does not register.
        ws_url="ws://127.0.0.1:1",
        api_key="key",
        api_secret="s" * 32,
    )
    judged = "on_session_end" in inspect.signature(server.rtc_session).parameters
    options: dict[str, Any] = {"on_session_end": judge} if judged else {}
    server.rtc_session(entrypoint, **options)
    running = asyncio.create_task(server.run(devmode=True, unregistered=True))
    started = asyncio.Event()
    server.on("worker_started", started.set)
    await asyncio.wait_for(started.wait(), 60)
    room = models.Room(name="room", metadata=str(data_dir))
    await server.simulate_job("room", fake_job=True, room_info=room)
    async with asyncio.timeout(60):
        while server.active_jobs:  # the server announces no ends of jobs
            await asyncio.sleep(0.05)
    await server.aclose()
    await running
    return judged


async def test_all_that_a_job_spends_is_in_its_calls(tmp_path: Path) -> None:
    """The judges, the last record of a slow callback, and the goodbye of each session."""
    judged = await run_job(tmp_path)

    intake = Intake(tmp_path)
    intake.passes()
    calls = intake.ask(
        "SELECT reason, ended, turns, seconds FROM (SELECT reason, ended, turns,"
        " closed_at - started_at AS seconds FROM sessions ORDER BY started_at)"
    )
    assert [(ended, turns) for _, ended, turns, _ in calls] == [(1, 1), (1, 1)]
    assert {reason for reason, *_ in calls} <= {"user_initiated", "job_shutdown"}
    assert intake.ask("SELECT phase, count(*), sum(input_tokens) FROM usage GROUP BY phase") == [
        (None, 2, 2_000),
        ("after", 1 + 3 * judged, BY_HAND + 3_000 * judged),
    ]
    assert intake.figure("SELECT count(*) FROM usage WHERE status <> 'priced'") == 0
