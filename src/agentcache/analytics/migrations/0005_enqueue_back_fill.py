from datetime import UTC, datetime
from typing import Any

from django.db import migrations


def enqueue(apps: Any, _editor: object) -> None:
    # Events from before there were roll-ups are summed up by the job worker, in pieces: all at once would take a large
    # installation minutes in which nothing answers. Counts what is there, so events that are in are left alone.
    if apps.get_model("analytics", "UsageEvent").objects.exists():
        jobs = apps.get_model("jobs", "Job").objects
        jobs.get_or_create(
            id="usage.back_fill", defaults={"name": "usage.back_fill", "payload": {}, "due_at": datetime.now(UTC)}
        )


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0004_summed_requests"),
        ("jobs", "0001_initial"),
    ]

    operations = [migrations.RunPython(enqueue, migrations.RunPython.noop, elidable=True)]
