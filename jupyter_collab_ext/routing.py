"""Swapping handler classes of Jupyter Server and JupyterLab for subclasses of ours.

One router in front of all others finds the handler as usual and replaces its class. So URLs and
arguments of the routes stay as they are, and the order in which extensions load does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import AnyMatches, Router, Rule
from tornado.web import Application, RequestHandler

Substitutes = dict[type[RequestHandler], type[RequestHandler]]


class SubstitutingRouter(Router):
    """The first rule of ``application``; ``substitutes`` may be added to later."""

    def __init__(self, application: Application, substitutes: Substitutes) -> None:
        self._application = application
        self.substitutes = substitutes
        self.last_look: Callable[[type[RequestHandler]], type[RequestHandler]] = lambda found: found
        """May put another class in the place of any that is about to be served."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The delegate that the other rules find, with its handler class swapped; None if they find none."""
        router = self._application.default_router
        for rule in router.rules:
            if rule.target is self:
                continue
            matched = rule.matcher.match(request)
            if matched is None:
                continue
            if rule.target_kwargs:
                matched["target_kwargs"] = rule.target_kwargs
            delegate: Any = router.get_target_delegate(rule.target, request, **matched)
            if delegate is not None:
                return self._swapped(delegate)
        return None

    def _swapped(self, delegate: Any) -> Any:
        found = getattr(delegate, "handler_class", None)
        if found is not None:
            delegate.handler_class = self.last_look(self.substitutes.get(found, found))
        return delegate


def substitute(
    application: Application, table: Mapping[type[RequestHandler], type[RequestHandler]]
) -> SubstitutingRouter:
    """Serve each value of ``table`` where the application would serve its key; calls add up."""
    rules = application.default_router.rules
    for rule in rules:
        if isinstance(rule.target, SubstitutingRouter):
            rule.target.substitutes.update(table)
            return rule.target
    router = SubstitutingRouter(application, dict(table))
    rules.insert(0, Rule(AnyMatches(), router))
    return router
