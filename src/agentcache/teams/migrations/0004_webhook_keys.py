from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("teams", "0003_api_key_rights"),
    ]

    operations = [
        migrations.AddField(
            model_name="team",
            name="webhook_key_number",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="team",
            name="webhook_key_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
