from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0003_signing_keys"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="delivery",
            options={"verbose_name_plural": "deliveries"},
        ),
    ]
