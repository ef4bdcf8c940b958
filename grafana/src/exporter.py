"""Exporter: whether the meter works, and LiveKit's own worker metrics beside it."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.src import board, colours, money, thresholds, variables
from grafana.src.panels import About, AnyPanel, Column, Line, graph, stack, stat, table
from grafana.src.queries import (
    RATE,
    UP,
    counted,
    matchers,
    or_zero,
    ours,
    per_hour,
    quantile,
    rate,
    series,
    total,
)
from livekit_exporter import contract

_JOB: Final = matchers(())
_WORKER: Final = 'job=~"$worker"'


def dashboard() -> Dashboard:
    """Reach, intake, what is missing, deliveries, and the workers that the calls run on."""
    return board.board(
        board.EXPORTER,
        "LiveKit agents: exporter",
        "Can the other dashboards be believed, and do the workers have room?",
        since="now-1h",
        choices=(
            variables.job(),
            variables.worker(),
            variables.agent(),
            variables.provider(),
            variables.model(),
        ),
        sections=(_reach(), _intake(), _missing(), _webhook(), _workers()),
    )


def _reach() -> board.Section:
    return board.Section(
        100,
        "Does it answer?",
        (
            *_answering(),
            *_errors(),
            *_table_of_exporters(),
        ),
    )


def _answering() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                101,
                "Exporters answering",
                "What part of the exporters can Prometheus reach?",
                "Below 100 % the calls on that host are not seen; journals keep them until"
                " the exporter is back.",
            ),
            "percentunit",
            f"avg({ours(UP)})",
            limit=thresholds.EXPORTER_DOWN,
            steps=((None, colours.BAD), (1.0, colours.GOOD)),
        ),
        stat(
            About(
                102,
                "Newest record",
                "How long ago did an agent say something?",
                "Bad only while calls are going on: then agents do not reach the journal.",
            ),
            "s",
            f"time() - max({series(contract.LAST_RECORD)})",
            limit=thresholds.NO_RECORDS,
        ),
        stat(
            About(
                103,
                "Journal lag",
                "How much is written by agents and not in the figures yet?",
                "Bad is more than a megabyte for minutes: figures are late.",
            ),
            "decbytes",
            f"max({series(contract.JOURNAL_LAG)})",
            limit=thresholds.JOURNAL_LAG,
        ),
    )


def _errors() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                104,
                "Ledger errors",
                "How many transactions failed in the time shown?",
                "Any is bad: the disk is full or the file cannot be written. Records wait in"
                " their journals.",
            ),
            "short",
            or_zero(counted(contract.LEDGER_ERRORS)),
            limit=thresholds.LEDGER_ERRORS,
        ),
        stat(
            About(
                105,
                "Configuration",
                "What part of the exporters runs on its newest configuration?",
                "Below 100 % the last reload failed and the old configuration is in force; the"
                " exporter's log names the line.",
            ),
            "percentunit",
            f"avg({series(contract.RELOAD_SUCCESSFUL)})",
            limit=thresholds.RELOAD_FAILED,
            steps=((None, colours.BAD), (1.0, colours.GOOD)),
        ),
        money.prices_checked(106),
    )


def _table_of_exporters() -> Sequence[AnyPanel]:
    return (
        table(
            About(
                107,
                "Exporters",
                "Which exporter is behind, large or out of date?",
                "More than one version for long is a rollout that stopped.",
            ),
            {
                "job": "Job",
                "instance": "Exporter",
                "version": "Version",
                "python_version": "Python",
            },
            _exporters(),
            sort="Lag",
            height=6,
        ),
    )


def _exporters() -> list[Column]:
    one = ("job", "instance")
    build = f"group by (job, instance, version, python_version) ({series(contract.BUILD_INFO)})"

    def of(expression: str) -> str:
        return f"{build} * on (job, instance) group_left () {expression}"

    def gauge(family: contract.Family) -> str:
        return of(total(series(family), *one))

    configured = f"(time() - {total(series(contract.RELOAD_TIMESTAMP), *one)})"
    return [
        Column("Calls now", gauge(contract.ACTIVE_SESSIONS), "short"),
        Column("Journals", gauge(contract.JOURNAL_FILES), "short"),
        Column("Lag", gauge(contract.JOURNAL_LAG), "decbytes", thresholds.JOURNAL_LAG),
        Column("Ledger", gauge(contract.LEDGER_BYTES), "decbytes"),
        Column("Scrape", of(f"scrape_duration_seconds{{{_JOB}}}"), "s"),
        Column("Samples", of(f"scrape_samples_scraped{{{_JOB}}}"), "short"),
        Column("Configured", of(configured), "s"),
    ]


def _intake() -> board.Section:
    return board.Section(
        200,
        "Does it keep up?",
        (
            *_speed(),
            *_sizes(),
        ),
    )


def _speed() -> Sequence[AnyPanel]:
    return (
        stack(
            About(
                201,
                "Records",
                "How much do agents say?",
                "Bad is nothing while calls are going on, or a kind that stopped.",
            ),
            "suffix: /s",
            [Line("{{kind}}", total(rate(contract.RECORDS), "kind"))],
            span=8,
        ),
        graph(
            About(
                202,
                "Journal lag",
                "Is the exporter behind the agents?",
                "It should touch zero all the time. A line that climbs is a disk or a ledger"
                " that cannot keep up.",
            ),
            "decbytes",
            [Line("{{instance}}", total(series(contract.JOURNAL_LAG), "instance"))],
            limit=thresholds.JOURNAL_LAG,
            span=8,
        ),
        graph(
            About(
                203,
                "Time of a ledger transaction",
                "Is the ledger quick enough?",
                "p99 above a second is a slow disk, or somebody else in the database.",
            ),
            "s",
            [
                Line(name, quantile(number, contract.LEDGER_COMMIT))
                for name, number in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            ],
            colour=colours.QUANTILE,
            span=8,
        ),
    )


def _sizes() -> Sequence[AnyPanel]:
    return (
        graph(
            About(
                204,
                "Ledger",
                "How fast does the ledger grow?",
                "Hold it against the free space of its disk.",
            ),
            "decbytes",
            [Line("{{instance}}", total(series(contract.LEDGER_BYTES), "instance"))],
            span=8,
        ),
        graph(
            About(
                205,
                "Journals",
                "Do journals go away when their calls end?",
                "It should follow the number of calls. Only rising means that journals cannot"
                " be deleted, or that their writers never end.",
            ),
            "short",
            [
                Line("Journals", total(series(contract.JOURNAL_FILES))),
                Line("Calls going on", total(series(contract.ACTIVE_SESSIONS))),
            ],
            span=8,
        ),
        graph(
            About(
                206,
                "Time of a scrape",
                "How long does Prometheus wait for the page?",
                "Near the scrape timeout, samples get lost: too many series, see the labels below.",
            ),
            "s",
            [Line("{{instance}}", _scrape())],
            span=8,
        ),
    )


def _missing() -> board.Section:
    return board.Section(
        300,
        "What is missing from the figures?",
        (
            *_unwritten(),
            *_left_out(),
        ),
    )


def _unwritten() -> Sequence[AnyPanel]:
    return (
        _per_hour_by(
            About(
                301,
                "Records dropped",
                "What could agents not write down?",
                "Any is bad. 'queue_full': the disk is too slow; 'directory_full': it is full"
                " or the exporter is down for long.",
            ),
            contract.RECORDS_DROPPED,
            "reason",
            limit=thresholds.RECORDS_DROPPED,
        ),
        _per_hour_by(
            About(
                302,
                "Records not understood",
                "What did the exporter not understand?",
                "'torn' is the last line of a killed process. Anything else is a version of"
                " LiveKit or of the agent that the exporter does not know.",
            ),
            contract.RECORDS_REJECTED,
            "reason",
            limit=thresholds.RECORDS_REJECTED,
        ),
        _per_hour_by(
            About(
                303,
                "Requests without a price",
                "Which model's cost is missing?",
                "Any is bad: the spend shown is too low. docs/prices.md says how to add a price.",
                more=board.COST,
            ),
            contract.UNPRICED_REQUESTS,
            "model",
            limit=thresholds.UNPRICED,
        ),
    )


def _left_out() -> Sequence[AnyPanel]:
    return (
        _per_hour_by(
            About(
                306,
                "Turns without usage",
                "In which stage does something work that nobody meters?",
                "Any is bad: the spend shown is too low. The agent's log names the remedy,"
                " call.meter.",
                more=board.COST,
            ),
            contract.USAGE_MISSING,
            "stage",
            limit=thresholds.UNSEEN,
        ),
        _per_hour_by(
            About(
                304,
                "Measurements left out",
                "Which measured values were no measurements?",
                "Replies without a first token are normal. 'too_long' and 'negative' are clocks"
                " that disagree.",
            ),
            contract.SAMPLES_REJECTED,
            "reason",
        ),
        _per_hour_by(
            About(
                305,
                "Label values over the cap",
                "Which label has more values than it may?",
                "Their calls are shown as 'other': a name with an id in it, or a cap that is"
                " too low.",
            ),
            contract.LABEL_VALUES_CAPPED,
            "label",
            limit=thresholds.LABELS_CAPPED,
        ),
    )


def _per_hour_by(
    about: About,
    family: contract.Family,
    label: str,
    *,
    limit: thresholds.Limit | None = None,
    span: int = 8,
) -> AnyPanel:
    lines = [Line(f"{{{{{label}}}}}", per_hour(total(rate(family), label)))]
    return graph(about, "suffix: /h", lines, limit=limit, span=span)


def _webhook() -> board.Section:
    oldest = f"min by (instance) ({series(contract.WEBHOOK_OLDEST)})"
    return board.Section(
        500,
        "Do calls reach the webhook?",
        (
            graph(
                About(
                    501,
                    "Deliveries",
                    "Does the receiver take calls when they end?",
                    "Failed attempts are repeated; more of them than deliveries is bad. Nothing at"
                    " all: no webhook is configured.",
                ),
                "suffix: /h",
                [
                    Line(name, per_hour(total(rate(family))))
                    for name, family in (
                        ("Delivered", contract.WEBHOOK_DELIVERIES),
                        ("Failed attempts", contract.WEBHOOK_ERRORS),
                    )
                ],
                span=8,
            ),
            graph(
                About(
                    502,
                    "Longest wait for the webhook",
                    "For how long has a call been waiting to be delivered?",
                    "Above the line a ticket is opened. A line that climbs is a receiver that is"
                    " down or refuses.",
                ),
                "s",
                [Line("{{instance}}", f"time() - {oldest}")],
                limit=thresholds.WEBHOOK_FAILING,
                span=8,
            ),
            graph(
                About(
                    503,
                    "Given up",
                    "Which calls does the receiver miss?",
                    "Any is bad, until somebody sends them again: 'webhook list --dead' names them"
                    " and the reasons.",
                ),
                "suffix: /h",
                [
                    Line(
                        "{{instance}}",
                        per_hour(total(rate(contract.WEBHOOK_DEAD_LETTERS), "instance")),
                    )
                ],
                limit=thresholds.WEBHOOK_DEAD_LETTERS,
                span=8,
            ),
        ),
    )


def _workers() -> board.Section:
    start = f"rate(lk_agents_proc_initialize_duration_seconds_bucket{{{_WORKER}}}[{RATE}])"
    return board.Section(
        400,
        "Do LiveKit's workers have room?",
        (
            graph(
                About(
                    401,
                    "Worker load",
                    "Do workers take more calls?",
                    "A worker at its threshold, 0.7 unless configured, takes none; all of them"
                    " there means that callers wait for nobody.",
                ),
                "percentunit",
                [
                    Line(
                        "{{instance}}",
                        f"max by (instance) ({variables.WORKER_LOAD}{{{_WORKER}}})",
                    )
                ],
                span=8,
            ),
            graph(
                About(
                    402,
                    "Jobs",
                    "Does each job have a call?",
                    "Jobs far above calls are agents without attach(), or processes that hang after"
                    " the call. A worker shows its jobs once it had one.",
                ),
                "short",
                [
                    Line("Jobs of workers", f"sum(lk_agents_active_job_count{{{_WORKER}}})"),
                    Line("Calls seen", total(series(contract.ACTIVE_SESSIONS))),
                ],
                span=8,
            ),
            graph(
                About(
                    403,
                    "Start of a process",
                    "How long does a job process take to start?",
                    "A caller waits for it where no idle process is left. Above a few seconds:"
                    " imports and models that are loaded too early.",
                ),
                "s",
                [
                    Line(name, f"histogram_quantile({number:g}, sum by (le) ({start}))")
                    for name, number in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
                ],
                colour=colours.QUANTILE,
                span=8,
            ),
        ),
    )


def _scrape() -> str:
    scraped = f"scrape_duration_seconds{{{_JOB}}}"
    return f"max by (instance) ({ours(scraped)})"
