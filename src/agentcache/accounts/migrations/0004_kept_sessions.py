from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_shortcuts")]

    operations = [
        migrations.AddField(
            model_name="loginsession", name="is_kept", field=models.BooleanField(db_default=False, default=False)
        ),
        # Whoever opens a mailed link gives these; those of an unfinished registration are forgotten.
        migrations.RemoveField(model_name="mailedlink", name="name"),
        migrations.RemoveField(model_name="mailedlink", name="password"),
    ]
