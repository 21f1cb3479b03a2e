"""Read by Django by the names of its settings. As `design.formats` writes them on our pages."""

DATETIME_FORMAT = r"Y-m-d H:i:s \U\T\C"
DATE_FORMAT = "Y-m-d"
