"""Addresses of the public pages. Their names stand alone: every page's frame links to them."""

from __future__ import annotations

from django.urls import path

from agentcache.site.views import documentation, gallery, product, server

urlpatterns = [
    path("", product.start, name="start"),
    path("pricing", product.pricing, name="pricing"),
    path("status", server.status, name="status"),
    path("security", server.security, name="security"),
    path(".well-known/security.txt", server.security_txt, name="security-txt"),
    path("changelog", server.changelog, name="changelog"),
    path("docs", documentation.docs, name="docs"),
    path("docs/<path:name>", documentation.docs, name="docs-page"),
    path("dev/design", gallery.gallery, name="gallery"),
    path("robots.txt", documentation.robots, name="robots"),
    path("sitemap.xml", documentation.sitemap, name="sitemap"),
]
