from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("semantics", "0005_plural"),
    ]

    operations = [
        migrations.AddField(
            model_name="nearquestion",
            name="agreement",
            field=models.FloatField(blank=True, null=True),
        ),
    ]
