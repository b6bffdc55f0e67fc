"""Where settings come from, what overrules what, and what is said of wrong ones."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from fakes import TOKEN, shown_by

from kore_campaign_async import CampaignClient, Network, RateLimit, errors
from kore_campaign_async.auth import JwtCredentials, StaticToken
from kore_campaign_async.settings import KEYS, Settings, read_settings, variable

SECRET = "a secret of at least thirty-two characters"
OTHER = "another one of at least thirty-two characters"
ENVIRONMENT = {
    "KORE_HOST": "https://environment.example",
    "KORE_APP_ID": "st-environment",
    "KORE_ACCOUNT_ID": "account-environment",
    "KORE_CLIENT_ID": "cs-environment",
    "KORE_CLIENT_SECRET": SECRET,
}
PROFILES = """
default_profile = "staging"
host = "https://file.example"
rate = "30/60"

[profiles.staging]
app_id = "st-staging"

[profiles.production]
host = "https://production.example"
app_id = "st-production"
rate = ["60/60", "1800/3600"]
"""


def toml(folder: Path, text: str, name: str = "kore.toml") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def account(client: CampaignClient) -> tuple[str, str, str]:
    return client.account


async def minted(client: CampaignClient, secret: str = SECRET) -> dict[str, Any]:
    """The claims of the client's token, which must be signed with this secret."""
    token = await client._credentials.token()
    claims: dict[str, Any] = jwt.decode(token.reveal(), secret, algorithms=["HS256"])
    return claims


# What overrules what


def test_without_a_file_the_environment_is_all() -> None:
    client = CampaignClient.from_env(ENVIRONMENT)
    assert account(client) == ("https://environment.example", "st-environment", "account-environment")
    assert client.rate == (RateLimit(60, 60.0),)


def test_the_file_overrules_the_environment_and_arguments_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, PROFILES)
    environ = ENVIRONMENT | {"KORE_RATE": "5/60"}
    client = CampaignClient.from_config(path, environ=environ)
    assert account(client) == ("https://file.example", "st-staging", "account-environment")
    assert client.rate == (RateLimit(30, 60.0),)
    client = CampaignClient.from_config(path, environ=environ, rate=(RateLimit(1, 1.0),), app_id="st-argument")
    assert account(client)[1] == "st-argument"
    assert client.rate == (RateLimit(1, 1.0),)


def test_a_profile_overrules_what_all_profiles_share(tmp_path: Path) -> None:
    path = toml(tmp_path, PROFILES)
    client = CampaignClient.from_config(path, "production", environ=ENVIRONMENT)
    assert account(client) == ("https://production.example", "st-production", "account-environment")
    assert client.rate == (RateLimit(60, 60.0), RateLimit(1800, 3600.0))


def test_the_environment_names_the_file_and_its_profile(tmp_path: Path) -> None:
    path = toml(tmp_path, PROFILES)
    named = ENVIRONMENT | {"KORE_CONFIG": str(path), "KORE_PROFILE": "production"}
    assert account(CampaignClient.from_env(named))[1] == "st-production"
    assert account(CampaignClient.from_config(path, "staging", environ=named))[1] == "st-staging"
    other = toml(tmp_path, 'app_id = "st-other"\n[profiles.production]\n', "other.toml")
    assert account(CampaignClient.from_config(other, environ=named))[1] == "st-other"


def test_each_setting_tells_where_it_was_found(tmp_path: Path) -> None:
    path = toml(tmp_path, PROFILES)
    found = read_settings(ENVIRONMENT, path=path, profile="production")
    assert found.origin("account_id") == "KORE_ACCOUNT_ID"
    assert found.origin("app_id") == f"app_id in {path} [profiles.production]"
    assert read_settings(ENVIRONMENT, path=path).origin("host") == f"host in {path}"
    assert found.origin("ca_bundle") is None


def test_every_key_has_its_variable_and_each_is_read(tmp_path: Path) -> None:
    """One that a table of names forgot would be read from neither."""
    words = {key: "60/60" if key == "rate" else "1" if key == "trust_env" else f"of {key}" for key in KEYS}
    of_environ = read_settings({variable(key): word for key, word in words.items()})
    lines = [f"{key} = {'true' if key == 'trust_env' else json.dumps(word)}" for key, word in words.items()]
    of_file = read_settings({}, path=toml(tmp_path, "\n".join(lines)))
    assert set(of_environ.found) == set(of_file.found) == set(KEYS)


README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_key_and_shows_a_file_that_is_one(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `(KORE_\w+)` \| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted((variable(key), key) for key in KEYS)
    (text,) = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    path = toml(tmp_path, text)
    assert read_settings({}, path=path).profile == "staging"
    found = read_settings({}, path=path, profile="production")
    assert found.text("host") == "https://platform.kore.ai"
    assert found.text("account_id") == "67777ce93e25326494e90000"


# Secrets, and the files that hold them


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
async def test_a_secret_comes_from_a_file_without_its_line_end(end: str, tmp_path: Path) -> None:
    secret = toml(tmp_path, "", "secret")
    secret.write_bytes((SECRET + end).encode())
    environ = {**ENVIRONMENT, "KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": str(secret)}
    assert (await minted(CampaignClient.from_env(environ)))["appId"] == "cs-environment"


async def test_a_token_comes_from_a_file(tmp_path: Path) -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if "CLIENT" not in name}
    client = CampaignClient.from_env(environ | {"KORE_AUTH_TOKEN_FILE": str(toml(tmp_path, f"{TOKEN}\n", "token"))})
    assert (await client._credentials.token()).reveal() == TOKEN


async def test_a_path_in_the_file_starts_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "secrets").mkdir()
    toml(tmp_path / "secrets", OTHER, "kore")
    path = toml(tmp_path, 'client_secret_file = "secrets/kore"')
    await minted(CampaignClient.from_config(path, environ=ENVIRONMENT), OTHER)


#: What the environment and the file say, and which credentials hold.
CHOICES: dict[str, tuple[Mapping[str, str], str, str]] = {
    "the app's of the environment": ({}, "", SECRET),
    "the app's before a token of the same source": ({"KORE_AUTH_TOKEN": TOKEN}, "", SECRET),
    "a token of the file before the app's of the environment": ({}, f'auth_token = "{TOKEN}"', TOKEN),
    "the file's secret with the environment's id": ({}, f'client_secret = "{OTHER}"', OTHER),
    "the app's of which a part stands in the file": ({"KORE_AUTH_TOKEN": TOKEN}, 'client_id = "cs-2"', SECRET),
    "a secret of the file before a file of the environment": (
        {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "/nowhere"},
        f'client_secret = "{OTHER}"',
        OTHER,
    ),
    "a token where the app's id alone is there": ({"KORE_CLIENT_SECRET": "", "KORE_AUTH_TOKEN": TOKEN}, "", TOKEN),
}


@pytest.mark.parametrize("choice", CHOICES)
async def test_which_credentials_hold(choice: str, tmp_path: Path) -> None:
    more, text, expected = CHOICES[choice]
    client = CampaignClient.from_config(toml(tmp_path, text), environ={**ENVIRONMENT, **more})
    if expected is TOKEN:
        assert isinstance(client._credentials, StaticToken)
        assert (await client._credentials.token()).reveal() == TOKEN
    else:
        assert isinstance(client._credentials, JwtCredentials)
        await minted(client, expected)


def test_what_is_overruled_is_told(tmp_path: Path) -> None:
    found = read_settings(ENVIRONMENT, path=toml(tmp_path, f'auth_token = "{TOKEN}"'))
    assert found.unused() == {"client_id", "client_secret"}
    assert read_settings(ENVIRONMENT).unused() == frozenset()


# Files that others can read


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_file_with_a_secret_that_all_can_read_is_warned_of(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the secret stands in the settings or in a file of its own, and for a private key too."""
    secret = toml(tmp_path, f"{SECRET}\n", "secret")
    path = toml(tmp_path, f'[profiles.a]\nauth_token = "{TOKEN}"')
    for file in (secret, path):
        file.chmod(mode)
    environ = ENVIRONMENT | {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": str(secret)}
    with caplog.at_level(logging.WARNING):
        CampaignClient.from_config(path, environ=environ)
    advice = "holds a secret and can be read by everybody on this machine; chmod 600 makes it yours alone"
    both = [f"{path} {advice}", f"{secret} (KORE_CLIENT_SECRET_FILE) {advice}"]
    assert [record.message for record in caplog.records] == (both if warned else [])
    key = read_settings({"KORE_CLIENT_KEY": str(secret)})
    assert [warning.partition(" (")[0] for warning in key.warnings] == ([str(secret)] if warned else [])


def test_a_file_without_a_secret_may_be_read_by_all(tmp_path: Path) -> None:
    path = toml(tmp_path, PROFILES)
    path.chmod(0o644)
    assert read_settings(ENVIRONMENT, path=path).warnings == ()


# Wrong ones

WRONG_FILES: dict[str, tuple[str, str]] = {
    "a misspelt key": ('acount_id = "x"', "{}: unknown key 'acount_id'; did you mean 'account_id'?"),
    "a misspelt key of a profile": (
        '[profiles.a]\nclient-secret = "x"',
        "{} [profiles.a]: unknown key 'client-secret'; did you mean 'client_secret'?",
    ),
    "the environment's name": ('KORE_APP_ID = "x"', "{}: unknown key 'KORE_APP_ID'; did you mean 'app_id'?"),
    "a key like no other": ("zzz = 1", "{}: unknown key 'zzz'; the keys are host, app_id, account_id, client_id, "),
    "a misspelt default": ('defaultprofile = "a"', "unknown key 'defaultprofile'; did you mean 'default_profile'?"),
    "a profile that stands alone": ("[production]", "unknown table [production]; a profile is written [profiles.prod"),
    "a profile that is none": ("profiles.a = 1", "{}: a profile is a table, such as [profiles.production]"),
    "profiles that are none": ("profiles = 1", "{}: a profile is a table, such as [profiles.production]"),
    "a number for a text": ("app_id = 7", "{}: app_id must be a text in quotes that is not empty"),
    "an empty text": ('host = ""', "{}: host must be a text in quotes that is not empty"),
    "a text for a flag": ('trust_env = "yes"', "{}: trust_env must be true or false"),
    "a number for a rate": ("rate = 60", '{}: rate must be a text such as "60/60", or an array of them'),
    "no rates": ("rate = []", '{}: rate must be a text such as "60/60", or an array of them'),
    "a rate that is none": ('rate = "fast"', "rate in {}: a rate is written CALLS/SECONDS, such as 60/60"),
    "no TOML": ("host = https://x", "the settings file {} is not TOML: Invalid value (at line 1, column 8)"),
    "a key that stands twice": ('host = "a"\nhost = "b"', "{} is not TOML: Cannot overwrite a value (at "),
    "a default that is not there": ('default_profile = "a"', "{} has no profile 'a'; it has none"),
    "a default that is no name": ("default_profile = 1", "{}: default_profile must be the name of a profile"),
    "a key without a certificate": (
        'client_key = "key.pem"',
        "client_key in {} names a key and no certificate is named",
    ),
}


@pytest.mark.parametrize("mistake", WRONG_FILES)
def test_a_wrong_file_is_told_by_file_and_key(mistake: str, tmp_path: Path) -> None:
    text, sentence = WRONG_FILES[mistake]
    path = toml(tmp_path, text)
    with pytest.raises(errors.InvalidRequestError) as caught:
        CampaignClient.from_config(path, environ=ENVIRONMENT)
    assert sentence.replace("{}", str(path)) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequestError, match=r"nowhere.toml can't be read: No such file or directory"):
        read_settings(ENVIRONMENT, path=tmp_path / "nowhere.toml")
    with pytest.raises(errors.InvalidRequestError, match=r"can't be read: Is a directory"):
        read_settings({"KORE_CONFIG": str(tmp_path)})
    path = tmp_path / "kore.toml"
    path.write_bytes('host = "é"'.encode("latin-1"))
    with pytest.raises(errors.InvalidRequestError, match="is not in UTF-8; save it as UTF-8"):
        read_settings(ENVIRONMENT, path=path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(errors.InvalidRequestError, match="is larger than 1,048,576 bytes"):
        read_settings(ENVIRONMENT, path=path)


def test_a_profile_needs_a_file_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequestError, match="the profile 'production' is one of no file"):
        read_settings(ENVIRONMENT | {"KORE_PROFILE": "production"})
    path = toml(tmp_path, PROFILES)
    with pytest.raises(errors.InvalidRequestError, match="has no profile 'prodution'; the nearest is 'production'"):
        read_settings(ENVIRONMENT, path=path, profile="prodution")
    with pytest.raises(errors.InvalidRequestError, match="has no profile 'zz'; it has 'staging', 'production'"):
        read_settings(ENVIRONMENT, path=path, profile="zz")


def test_what_is_missing_is_told_with_where_it_can_stand(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        CampaignClient.from_env({})
    assert str(caught.value) == (
        "KORE_HOST, KORE_APP_ID and KORE_ACCOUNT_ID are not set in the environment; export them, or name a file of"
        " settings in KORE_CONFIG"
    )
    path = toml(tmp_path, 'host = "https://a"\n[profiles.a]\n')
    with pytest.raises(errors.InvalidRequestError) as caught:
        CampaignClient.from_config(path, "a", environ={})
    assert str(caught.value) == (
        f"app_id and account_id are missing: set them in {path} [profiles.a], or KORE_APP_ID and KORE_ACCOUNT_ID in"
        " the environment"
    )


WRONG_SECRETS: dict[str, tuple[dict[str, str], str]] = {
    "a secret alone": ({"KORE_CLIENT_ID": ""}, "(KORE_CLIENT_SECRET alone is not enough, KORE_CLIENT_ID is missing)"),
    "an id alone": ({"KORE_CLIENT_SECRET": ""}, "(KORE_CLIENT_ID alone is not enough, KORE_CLIENT_SECRET is missing)"),
    "none": ({"KORE_CLIENT_ID": "", "KORE_CLIENT_SECRET": ""}, "no credentials in the environment: set KORE_CLIENT_ID"),
    "both": (
        {"KORE_CLIENT_SECRET_FILE": "{good}"},
        "KORE_CLIENT_SECRET and KORE_CLIENT_SECRET_FILE are both set; leave one of them out",
    ),
    "a missing file": (
        {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "nowhere"},
        "KORE_CLIENT_SECRET_FILE: nowhere can't be read: No such file or directory",
    ),
    "a directory": (
        {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "."},
        "KORE_CLIENT_SECRET_FILE: . can't be read: Is a directory",
    ),
    "an empty file": (
        {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "{empty}"},
        "KORE_CLIENT_SECRET_FILE: {empty} is empty",
    ),
    "a file of other bytes": (
        {"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "{bytes}"},
        "KORE_CLIENT_SECRET_FILE: {bytes} is not a text in UTF-8",
    ),
    "a file of two tokens": (
        {"KORE_CLIENT_ID": "", "KORE_CLIENT_SECRET": "", "KORE_AUTH_TOKEN_FILE": "{two}"},
        "the token is empty or holds characters that no token has (from KORE_AUTH_TOKEN_FILE)",
    ),
    "a blank id": ({"KORE_CLIENT_ID": " "}, "the client id is blank (from KORE_CLIENT_ID and KORE_CLIENT_SECRET)"),
}


@pytest.mark.parametrize("mistake", WRONG_SECRETS)
def test_wrong_credentials_are_told_and_not_shown(mistake: str, tmp_path: Path) -> None:
    files = {
        "good": SECRET.encode(),
        "empty": b"\n",
        "bytes": b"\xff" + SECRET.encode(),
        "two": f"{TOKEN}\n{TOKEN}\n".encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    named = {name: str(tmp_path / name) for name in files}
    more, sentence = WRONG_SECRETS[mistake]
    environ = ENVIRONMENT | {name: value.format(**named) for name, value in more.items()}
    with pytest.raises(errors.CredentialsError) as caught:
        CampaignClient.from_env(environ)
    assert sentence.format(**named) in str(caught.value)
    assert caught.value.__context__ is None or not mistake.startswith("a file")
    shown = shown_by(caught.value, test_file=__file__)
    assert not [secret for secret in (SECRET, TOKEN) if secret in shown]


@pytest.mark.parametrize(
    "text", [*(one for one, _ in WRONG_FILES.values()), "[profiles.a]\nclient_secret = 1", 'default_profile = "b"']
)
def test_no_error_of_a_file_shows_a_secret_in_it(text: str, tmp_path: Path) -> None:
    head, _, rest = text.partition("[")
    secret = "" if "auth_token" in text else f'auth_token = "{OTHER}"\n'
    path = toml(tmp_path, f"{secret}{head}[{rest}" if rest else f"{secret}{text}")
    with pytest.raises(errors.KoreCampaignError) as caught:
        CampaignClient.from_config(path, environ=ENVIRONMENT)
    shown = shown_by(caught.value, test_file=__file__)
    assert OTHER not in shown
    assert SECRET not in shown


def test_settings_mask_themselves(tmp_path: Path) -> None:
    path = toml(tmp_path, f'auth_token = "{TOKEN}"\nshared_rate = "redis://:{OTHER}@redis"')
    found = read_settings(ENVIRONMENT, path=path)
    assert isinstance(found, Settings)
    assert not [secret for secret in (SECRET, TOKEN, OTHER) if secret in repr(found)]


@pytest.mark.parametrize(
    ("word", "trusted"), [("1", True), ("true", True), ("YES", True), ("0", False), ("off", False)]
)
def test_trust_env_is_yes_or_no(word: str, trusted: bool) -> None:
    arguments = read_settings(ENVIRONMENT | {"KORE_TRUST_ENV": word}).arguments({})
    assert arguments["network"] == Network(trust_env=trusted)


def test_another_word_for_trust_env_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError, match="KORE_TRUST_ENV is 'maybe'; it must be 1 or 0"):
        CampaignClient.from_env(ENVIRONMENT | {"KORE_TRUST_ENV": "maybe"})


def test_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    toml(tmp_path, SECRET, "secret")
    path = toml(tmp_path, 'client_secret_file = "~/secret"', os.devnull.replace("/", "_"))
    CampaignClient.from_config(path, environ={**ENVIRONMENT, "KORE_CLIENT_SECRET": ""})
