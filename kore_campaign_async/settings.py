"""Where a client's settings come from: the environment, and over it a TOML file with profiles.

What the file names `client_id` the environment names `KORE_CLIENT_ID`, and so with every key. Secrets and whatever
can hold one leave this module only wrapped, or as arguments of the client.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from attrs import field, frozen

from kore_campaign_async.auth import Credentials, JwtCredentials, Secret, StaticToken
from kore_campaign_async.config import Network, RateLimit, parse_rates
from kore_campaign_async.errors import CredentialsError, InvalidRequestError

#: Names the file of settings, and one of its profiles.
CONFIG: Final = "KORE_CONFIG"
PROFILE: Final = "KORE_PROFILE"

_TEXTS: Final = ("host", "app_id", "account_id", "client_id")
_SECRETS: Final = ("client_secret", "auth_token")
#: Files that hold a secret, by the key that the secret itself would have.
_FILES_OF: Final = {secret: f"{secret}_file" for secret in _SECRETS}
_PATHS: Final = (*_FILES_OF.values(), "ca_bundle", "client_cert", "client_key")
_RATE: Final = "rate"
_SHARED_RATE: Final = "shared_rate"
_TRUST_ENV: Final = "trust_env"
KEYS: Final = (*_TEXTS, *_SECRETS, *_PATHS, _RATE, _SHARED_RATE, _TRUST_ENV)
#: What may hold a password.
_HIDDEN: Final = (*_SECRETS, _SHARED_RATE)

_DEFAULT_PROFILE: Final = "default_profile"
_PROFILES: Final = "profiles"
_MOST_BYTES: Final = 1 << 16
_YES: Final = {"1", "true", "yes", "on"}
_NO: Final = {"0", "false", "no", "off"}


def variable(key: str) -> str:
    """The environment's name of a key."""
    return f"KORE_{key.upper()}"


@frozen
class Setting:
    """A setting as it was found.

    Attributes:
        value: as it was written; of what may hold a password, wrapped.
        source: orders the sources; a higher one overrules.
        origin: where it was found, for a sentence.
        folder: that a path starts from.
    """

    value: Any = field(repr=False)
    source: int
    origin: str
    folder: Path | None = None


@frozen(kw_only=True)
class Settings:
    """The settings of one client.

    Attributes:
        found: by key.
        path: of the file; None without one.
        profile: of the file; None without one.
        warnings: what a person should know of the files.
    """

    found: Mapping[str, Setting]
    path: Path | None = None
    profile: str | None = None
    warnings: tuple[str, ...] = ()

    def origin(self, key: str) -> str | None:
        """Where a key was found; None if it was not."""
        return self.found[key].origin if key in self.found else None

    def secrets(self) -> tuple[str, ...]:
        """The secrets themselves, for what must leave them out."""
        found = [self.found[key].value.reveal() for key in _HIDDEN if key in self.found]
        for file in _FILES_OF.values():
            if file in self.found:
                with contextlib.suppress(CredentialsError):
                    found.append(_text_of(self.found[file]).reveal())
        return tuple(found)

    def text(self, key: str) -> str | None:
        """A key's text; None if it was not found. Never for what may hold a password."""
        return None if key not in self.found else str(self.found[key].value)

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a client, with what a program gave itself over them.

        Raises:
            InvalidRequestError: a setting is missing or wrong; the message says where it stands.
            CredentialsError: the credentials are missing, or wrong.
        """
        arguments = dict(given)
        self._check_missing(given)
        for name in ("host", "app_id", "account_id"):
            arguments.setdefault(name, self.text(name))
        # Last: nothing is raised in a frame that holds them.
        if "rate" not in given and (rates := self._rates()) is not None:
            arguments["rate"] = rates
        if "network" not in given:
            arguments["network"] = self._network()
        if "credentials" not in given:
            arguments["credentials"] = self.credentials()
        if _SHARED_RATE not in given and _SHARED_RATE in self.found:
            arguments[_SHARED_RATE] = self.found[_SHARED_RATE].value.reveal()
        return arguments

    def _check_missing(self, given: Mapping[str, Any]) -> None:
        missing = [name for name in ("host", "app_id", "account_id") if name not in self.found and name not in given]
        if not missing:
            return
        names = _listed([variable(name) for name in missing])
        are = "is" if len(missing) == 1 else "are"
        if self.path is None:
            raise InvalidRequestError(
                f"{names} {are} not set in the environment; export {'it' if are == 'is' else 'them'}, or name a file"
                f" of settings in {CONFIG}"
            )
        raise InvalidRequestError(
            f"{_listed(missing)} {are} missing: set {'it' if are == 'is' else 'them'} in {self._place()}, or {names}"
            " in the environment"
        )

    def _place(self) -> str:
        return _place(self.path, self.profile) if self.path is not None else "the environment"

    def _rates(self) -> tuple[RateLimit, ...] | None:
        setting = self.found.get(_RATE)
        if setting is None:
            return None
        try:
            return parse_rates(tuple(setting.value))
        except ValueError as error:
            raise InvalidRequestError(f"{setting.origin}: {error}") from None

    def _network(self) -> Network:
        trusting = self.found.get(_TRUST_ENV)
        keys = ("ca_bundle", "client_cert", "client_key")
        paths = {key: _path_of(self.found[key]) for key in keys if key in self.found}
        if "client_key" in paths and "client_cert" not in paths:
            raise InvalidRequestError(
                f"{self.found['client_key'].origin} names a key and no certificate is named: set"
                f" {variable('client_cert')} too, or client_cert in the file"
            )
        return Network(trust_env=trusting is not None and _is_yes(trusting), **paths)

    def credentials(self) -> Credentials:
        """The credentials; where there are two kinds, those of the higher source, and of one source the app's.

        Raises:
            CredentialsError: there are none, or a file that holds them can't be read.
        """
        (client_id, secret), token = self._chosen()
        if token is not None:
            return _told(token.origin, lambda: StaticToken(_text_of(token).reveal()))
        if client_id is None or secret is None:
            self._refuse(client_id, secret)
        origin = f"{client_id.origin} and {secret.origin}"
        return _told(origin, lambda: JwtCredentials(client_id.value, _text_of(secret).reveal()))

    def unused(self) -> frozenset[str]:
        """The keys of credentials that others overrule."""
        try:
            (client_id, secret), token = self._chosen()
        except CredentialsError:
            return frozenset()
        chosen = (client_id, secret, token)
        keys = ("client_id", *_SECRETS, *_FILES_OF.values())
        return frozenset(key for key in keys if key in self.found and not any(self.found[key] is one for one in chosen))

    def _chosen(self) -> tuple[tuple[Setting | None, Setting | None], Setting | None]:
        """The app's id and secret, or a token: what of them is used, else None."""
        client_id = self.found.get("client_id")
        secret, token = self._secret("client_secret"), self._secret("auth_token")
        minting = max(client_id.source, secret.source) if client_id is not None and secret is not None else -1
        if token is not None and token.source > minting:
            return (None, None), token
        return (client_id, secret), None

    def _secret(self, key: str) -> Setting | None:
        """A secret's own setting or that of its file, whichever is of the higher source."""
        own, file = self.found.get(key), self.found.get(_FILES_OF[key])
        if own is not None and file is not None and own.source == file.source:
            raise CredentialsError(f"{own.origin} and {file.origin} are both set; leave one of them out")
        both = [setting for setting in (own, file) if setting is not None]
        return max(both, key=lambda setting: setting.source, default=None)

    def _refuse(self, client_id: Setting | None, secret: Setting | None) -> NoReturn:
        half = ""
        if client_id is not None or secret is not None:
            there, absent = ("client_id", "client_secret") if secret is None else ("client_secret", "client_id")
            half = f" ({variable(there)} alone is not enough, {variable(absent)} is missing)"
        where = "in the environment" if self.path is None else f"in {self._place()} or in the environment"
        raise CredentialsError(
            f"no credentials {where}{half}: set KORE_CLIENT_ID with KORE_CLIENT_SECRET, or KORE_AUTH_TOKEN, or name"
            " a file that holds the secret with _FILE behind the name"
        )


def read_settings(
    environ: Mapping[str, str], *, path: str | Path | None = None, profile: str | None = None
) -> Settings:
    """Find the settings of a client.

    Args:
        environ: of the process.
        path: of a file whose settings overrule the environment's; else `KORE_CONFIG` names one.
        profile: of the file; else `KORE_PROFILE` names one, else the file's `default_profile`.

    Raises:
        InvalidRequestError: the file can't be read, or holds a key that is none; the message names it.
    """
    try:
        found = {
            key: Setting(_wrapped(key, environ[variable(key)]), 0, variable(key))
            for key in KEYS
            if _is_set(key, environ.get(variable(key), ""))
        }
        path = path or environ.get(CONFIG) or None
        profile = profile or environ.get(PROFILE) or None
    finally:
        del environ  # it holds secrets, and tracebacks can show a frame's locals
    if path is None:
        if profile is not None:
            raise InvalidRequestError(
                f"the profile {profile!r} is one of no file: name the file of settings with {CONFIG} (--config)"
            )
        return Settings(found=found, warnings=tuple(_open_files(found)))
    path = Path(path)
    document = _read(path)
    profile = profile or _default_profile(document, path)
    found |= _in_table(document, path, None, 1)
    if profile is not None:
        found |= _in_table(_profile(document, path, profile), path, profile, 2)
    warnings = [*(_open_file(path, str(path)) if document.holds_secret() else ()), *_open_files(found)]
    return Settings(found=found, path=path, profile=profile, warnings=tuple(warnings))


def _is_set(key: str, text: str) -> bool:
    # Of an id or a secret, blanks are a mistake that is told; of these, they are nothing.
    return bool(text.strip() if key in {_RATE, _SHARED_RATE, _TRUST_ENV} else text)


def _wrapped(key: str, value: Any) -> Any:
    if key in _HIDDEN:
        return Secret(value.strip() if key == _SHARED_RATE else value)
    if key == _RATE:
        return tuple(value.split()) if isinstance(value, str) else tuple(value)
    return value


# The file


class _Table(dict[str, Any]):
    """A table of the file; it may hold a secret, so its repr does not show it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def holds_secret(self) -> bool:
        """Whether a secret stands in it or in a profile."""
        return any(key in self for key in _HIDDEN) or any(
            isinstance(table, _Table) and table.holds_secret() for table in self.get(_PROFILES, _Table()).values()
        )


def _read(path: Path) -> _Table:
    """Read the file, and check all keys of all its profiles."""
    import tomllib  # noqa: PLC0415  only who has a file pays for the import

    document: _Table | None = None
    why = ""
    try:
        document = _guarded(tomllib.loads(_bytes_of(path, 1 << 20).decode()))
    except OSError as error:
        why = f"the settings file {path} can't be read: {error.strerror or error}"
    except UnicodeDecodeError:
        why = f"the settings file {path} is not in UTF-8; save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        # Its text says where, and quotes a character at most; the error itself holds the whole file.
        why = f"the settings file {path} is not TOML: {error}"
    if document is None:
        raise InvalidRequestError(why)
    profiles = document.get(_PROFILES, _Table())
    if not isinstance(profiles, _Table) or not all(isinstance(one, _Table) for one in profiles.values()):
        raise InvalidRequestError(f"{path}: a profile is a table, such as [{_PROFILES}.production]")
    _check(document, path, None)
    for name, table in profiles.items():
        _check(table, path, name)
    return document


def _guarded(value: Any) -> Any:
    return _Table({key: _guarded(one) for key, one in value.items()}) if isinstance(value, dict) else value


def _check(table: _Table, path: Path, profile: str | None) -> None:
    known = (*KEYS, *(() if profile is not None else (_DEFAULT_PROFILE, _PROFILES)))
    for key in table:
        if key not in known:
            _refuse_key(table, key, known, _place(path, profile))
        if key in KEYS:
            _check_value(table, key, _place(path, profile))


def _refuse_key(table: _Table, key: str, known: Iterable[str], place: str) -> NoReturn:
    if isinstance(table[key], _Table):
        raise InvalidRequestError(
            f"{place}: unknown table [{key}]; a profile is written [{_PROFILES}.{key.rpartition('.')[2]}]"
        )
    meant = key.lower().replace("-", "_").removeprefix("kore_")
    near = difflib.get_close_matches(meant, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
    raise InvalidRequestError(f"{place}: unknown key {key!r}; {hint}")


def _check_value(table: _Table, key: str, place: str) -> None:
    value = table[key]
    is_text = isinstance(value, str) and bool(value.strip())
    if key == _TRUST_ENV:
        right, kind = isinstance(value, bool), "true or false"
    elif key == _RATE:
        several = isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
        right, kind = is_text or several, 'a text such as "60/60", or an array of them'
    else:
        right, kind = is_text, "a text in quotes that is not empty"
    del value  # it may be a secret
    if not right:
        raise InvalidRequestError(f"{place}: {key} must be {kind}")


def _default_profile(document: _Table, path: Path) -> str | None:
    name = document.get(_DEFAULT_PROFILE)
    if name is None:
        return None
    if not isinstance(name, str):
        raise InvalidRequestError(f"{path}: {_DEFAULT_PROFILE} must be the name of a profile, in quotes")
    return name


def _profile(document: _Table, path: Path, name: str) -> _Table:
    profiles = document.get(_PROFILES, _Table())
    if name not in profiles:
        names = list(profiles)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"the nearest is {near[0]!r}" if near else f"it has {', '.join(map(repr, names)) or 'none'}"
        raise InvalidRequestError(f"{path} has no profile {name!r}; {hint}")
    return cast("_Table", profiles[name])


def _in_table(table: _Table, path: Path, profile: str | None, source: int) -> dict[str, Setting]:
    folder = path.absolute().parent
    return {
        key: Setting(_wrapped(key, table[key]), source, f"{key} in {_place(path, profile)}", folder)
        for key in KEYS
        if key in table
    }


def _place(path: Path | None, profile: str | None) -> str:
    return f"{path}" + (f" [{_PROFILES}.{profile}]" if profile is not None else "")


# Values


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_yes(setting: Setting) -> bool:
    word = str(setting.value).strip().lower()
    if word not in _YES | _NO:
        raise InvalidRequestError(f"{setting.origin} is {setting.value!r}; it must be 1 or 0")
    return word in _YES


def _path_of(setting: Setting) -> Path:
    """A path; one of the file starts from the file's folder."""
    path = Path(setting.value)
    with contextlib.suppress(RuntimeError):  # a home that nobody knows
        path = path.expanduser()
    return path if setting.folder is None else setting.folder / path


def _bytes_of(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(0, f"it is larger than {most:,} bytes")
    return content


def _text_of(setting: Setting) -> Secret:
    """A secret, from its file where it has one."""
    if isinstance(setting.value, Secret):
        return setting.value
    path, why, secret = _path_of(setting), "", None
    try:
        secret = Secret(_bytes_of(path, _MOST_BYTES).decode().removesuffix("\n").removesuffix("\r"))
    except OSError as error:
        why = f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "is not a text in UTF-8"
    if secret is not None and not secret.reveal().strip():
        why = "is empty"
    if secret is None or why:
        raise CredentialsError(f"{setting.origin}: {path} {why}")
    return secret


def _told(origin: str, make: Callable[[], Credentials]) -> Credentials:
    """Make credentials, and say of wrong ones where they stand."""
    try:
        return make()
    except CredentialsError as error:
        why = str(error)
    # Raised outside of the handler, so that errors of credentials hang on nothing.
    raise CredentialsError(why if any(one in why for one in origin.split(" and ")) else f"{why} (from {origin})")


# Who else can read it


def _open_files(found: Mapping[str, Setting]) -> Iterator[str]:
    for key in (*_FILES_OF.values(), "client_key"):
        if key in found:
            path = _path_of(found[key])
            yield from _open_file(path, f"{path} ({found[key].origin})")


def _open_file(path: Path, named: str) -> Iterator[str]:
    # Refused it is not: secrets that a container mounts are often open to all of the container.
    with contextlib.suppress(OSError):
        if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
            yield f"{named} holds a secret and can be read by everybody on this machine; chmod 600 makes it yours alone"
