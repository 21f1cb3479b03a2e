from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0003_rollups"),
    ]

    operations = [
        migrations.AddField(
            model_name="usageevent",
            name="requests",
            field=models.IntegerField(db_default=1, default=1),
        ),
    ]
