"""The manual, and what search engines ask for."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agentcache.site import manual
from agentcache.site.views.product import current_settings, public_page

#: Names of the pages that are worth finding, beside those of the manual.
_FOUND = ("start", "pricing", "docs", "changelog", "security", "status")
#: What is of no use to anybody who is not signed in, or not a page.
_NOT_FOUND = (
    "/api/",
    "/accounts/",
    "/admin/",
    "/dashboard",
    "/dev/",
    "/invite/",
    "/settings",
    "/setup/",
    "/verify",
    "/reset",
)


@require_safe
def docs(request: HttpRequest, name: str = "") -> HttpResponse:
    """Show a page of the manual; without a name, its index."""
    page = manual.pages().get(f"/docs/{name}".rstrip("/"))
    if page is None:
        raise Http404
    before, after = manual.neighbours(page)
    context = {
        "page": page,
        "text": manual.rendered(page.path),
        "sections": manual.sections(),
        "before": before,
        "after": after,
        "is_index": not name,
        "is_manual": True,
    }
    return public_page(request, "site/docs.html", context)


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Tell search engines what to leave alone, and where the list of pages is."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in _NOT_FOUND)]
    lines += ["", f"Sitemap: {current_settings().origin}{reverse('sitemap')}"]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


@require_safe
def sitemap(request: HttpRequest) -> HttpResponse:
    """List the pages for search engines."""
    addresses = [reverse(name) for name in _FOUND] + [url for url in manual.pages() if url != reverse("docs")]
    urls = [current_settings().origin + address for address in addresses]
    return render(request, "site/sitemap.xml", {"urls": urls}, content_type="application/xml; charset=utf-8")
