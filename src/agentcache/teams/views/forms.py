"""What the pages of teams ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from django import forms

from agentcache.kit.errors import AgentCacheError
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.names import NAME_CHARS_MAX
from agentcache.teams.permissions import rank


class NewTeamForm(forms.Form):
    """A team to be made."""

    name = forms.CharField(max_length=NAME_CHARS_MAX, help_text="Up to 64 characters; people see it in invitations.")


class SettingsForm(forms.Form):
    """A team's settings."""

    name = forms.CharField(max_length=NAME_CHARS_MAX)
    default_namespace = forms.CharField(
        max_length=128, help_text="Namespace of new API keys that name none: letters, digits and . _ : -"
    )
    default_lifetime = forms.CharField(
        required=False,
        max_length=16,
        help_text="How long answers stay fresh when a request does not say: seconds, or 15m, 12h, 30d. "
        "Empty for the server's own.",
    )

    @classmethod
    def of(cls, team: Team) -> SettingsForm:
        """Return the form filled in."""
        lifetime = team.default_lifetime_seconds
        return cls(
            initial={
                "name": team.name,
                "default_namespace": team.default_namespace,
                "default_lifetime": "" if lifetime is None else str(lifetime),
            }
        )


class LogoForm(forms.Form):
    """A picture of the team."""

    logo = forms.FileField(
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
        help_text="PNG, JPEG or WebP, at most 256 KB.",
    )


class InvitationForm(forms.Form):
    """Whom to invite, to a role that is not above the inviter's."""

    email = forms.EmailField(label="E-mail address", max_length=254)
    role = forms.ChoiceField()

    def __init__(self, inviter: Membership, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they came
        role = self.fields["role"]
        assert isinstance(role, forms.ChoiceField)
        role.choices = roles_up_to(inviter.role)
        role.initial = Role.MEMBER


class MemberForm(forms.Form):
    """What a member may do."""

    role = forms.ChoiceField()
    has_billing = forms.BooleanField(
        required=False, label="Billing", help_text="May see and change plan and payment method."
    )
    is_owner = forms.BooleanField(
        required=False, label="Owner", help_text="May delete the team and make others owners; owners are admins."
    )

    def __init__(self, member: Membership, acting: Membership, *args: object, **kwargs: object) -> None:
        given = {"role": member.role, "has_billing": member.has_billing, "is_owner": member.is_owner}
        super().__init__(*args, initial=given, **kwargs)  # type: ignore[misc, arg-type]  # handed on as they came
        role = self.fields["role"]
        assert isinstance(role, forms.ChoiceField)
        role.choices = roles_up_to(acting.role)
        if not acting.is_owner:
            del self.fields["is_owner"]
        if not (acting.has_billing or acting.is_owner):
            del self.fields["has_billing"]


class RemovalForm(forms.Form):
    """What becomes of the keys of somebody who goes."""

    keys = forms.ChoiceField(
        choices=[
            ("keep", "Keep them: what uses them goes on working"),
            ("revoke", "Revoke them: they stop in 5 seconds"),
        ],
        initial="keep",
        widget=forms.RadioSelect,
        label="Their API keys",
        required=False,
    )

    @property
    def revokes_keys(self) -> bool:
        """Whether the keys are to stop."""
        return bool(self.cleaned_data["keys"] == "revoke")


class TypedNameForm(forms.Form):
    """The team's name, typed to confirm its end."""

    name = forms.CharField(label="Type the team's name", max_length=NAME_CHARS_MAX)


class JoinForm(forms.Form):
    """An account made on the way into a team."""

    name = forms.CharField(label="Your name", max_length=100, required=False)
    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 15 characters; a sentence is easier to remember than a puzzle.",
    )


def roles_up_to(role: str) -> list[tuple[str, str]]:
    """Return the roles, highest first, that somebody of this role may give."""
    return [(value, label) for value, label in Role.choices if rank(value) <= rank(role)]


def show_error(form: forms.Form, error: AgentCacheError) -> None:
    """Show what a service refused beside the field at fault, or above the form."""
    form.add_error(error.param if error.param in form.fields else None, error.message)
