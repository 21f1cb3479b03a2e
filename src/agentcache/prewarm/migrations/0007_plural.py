from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("prewarm", "0006_items"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="batch",
            options={"verbose_name_plural": "batches"},
        ),
    ]
