from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("semantics", "0004_judges"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="namespacesettings",
            options={"verbose_name": "settings of a namespace", "verbose_name_plural": "settings of namespaces"},
        ),
    ]
