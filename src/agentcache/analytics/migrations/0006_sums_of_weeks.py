from typing import Any

from django.db import migrations

_DAY, _WEEK = 86_400, 604_800
_SUMS = (
    "requests", "input_tokens", "output_tokens", "cost_usd_nanos", "saved_usd_nanos", "latency_us", "upstream_us",
    "upstream_calls",
)  # fmt: skip
_TABLES = {
    "UsageTotal": (("team_id", "dimension", "value", "outcome"), _SUMS),
    "UsageCell": (("team_id", "api_key", "member", "model", "namespace", "agent", "outcome"), _SUMS),
    "UsageLatency": (("team_id", "dimension", "value", "answer"), tuple(f"b{number:02}" for number in range(64))),
}


def sum_weeks(apps: Any, editor: Any) -> None:
    for name, (key, sums) in _TABLES.items():
        table = apps.get_model("analytics", name)._meta.db_table
        week = f"start - start % {_WEEK}"
        editor.execute(
            f"INSERT INTO {table} ({', '.join(key)}, grain, start, {', '.join(sums)}) "  # noqa: S608 - names of our own
            f"SELECT {', '.join(key)}, {_WEEK}, {week}, {', '.join(f'SUM({one})' for one in sums)} FROM {table} "
            f"WHERE grain = {_DAY} GROUP BY {', '.join(key)}, {week}",
            # Without parameters: the percent sign is the operator.
            None,
        )


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0005_enqueue_back_fill"),
    ]

    operations = [migrations.RunPython(sum_weeks, migrations.RunPython.noop, elidable=True)]
