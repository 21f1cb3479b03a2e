import pytest
from django.contrib.auth import authenticate, get_user_model
from django.db import IntegrityError, transaction

from agentcache.accounts.models import User


@pytest.fixture(autouse=True)
def database(project):
    return project


def test_people_sign_in_with_their_address_whatever_its_letter_case():
    user = User.objects.create_user("Ann@Example.com", "correct horse battery staple")
    assert get_user_model() is User
    assert len(user.id) == 32
    found = authenticate(username="ann@example.com", password="correct horse battery staple")
    assert found == user
    assert authenticate(username="ann@example.com", password="wrong") is None


def test_one_address_is_one_user():
    User.objects.create_user("ann@example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("ANN@example.com")
    assert User.objects.count() == 1


def test_without_a_password_nobody_signs_in_with_one():
    user = User.objects.create_user("ann@example.com")
    assert not user.has_usable_password()
    assert authenticate(username="ann@example.com", password="") is None


def test_an_operator_may_use_the_console_and_others_may_not():
    assert User.objects.create_superuser("root@example.com", "x").is_staff
    assert not User.objects.create_user("ann@example.com").is_staff
