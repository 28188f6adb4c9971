"""Where an endpoint's calls may go: no address that was not checked, no redirect, no secret in the open."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
import torch
from serving import Said, Served
from test_endpoint import X, answers, endpoint, outputs, true

from pellucid.backends import web
from pellucid.backends.endpoint import Endpoint
from pellucid.backends.endpoint_file import endpoint_settings
from pellucid.backends.web import checked_url, refusal
from pellucid.records.errors import LoadError, ModelError

NEVER = (
    "169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "240.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe",
)  # fmt: skip
ON_DEMAND = (
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1",
    "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:c0a8:101::1",
    "::7f00:1",
)  # fmt: skip
ALWAYS = ("8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_nothing_is_ever_sent_to(address):
    assert refusal(ipaddress.ip_address(address), private=True)
    assert refusal(ipaddress.ip_address(address), private=False)


@pytest.mark.parametrize("address", ON_DEMAND)
def test_addresses_that_a_file_must_ask_for(address):
    assert not refusal(ipaddress.ip_address(address), private=True)
    assert refusal(ipaddress.ip_address(address), private=False)


@pytest.mark.parametrize("address", ALWAYS)
def test_addresses_of_the_open_net(address):
    assert not refusal(ipaddress.ip_address(address), private=False)


DISGUISED = (
    "https://2130706433/", "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://127.1/", "https://0x7f000001/",
    "https://017700000001/", "https://127.0.0.01/", "https://1.2.3.4.5/", "https://169.254.43518/",
)  # fmt: skip


@pytest.mark.parametrize("url", DISGUISED)
def test_numbers_in_disguise_are_no_hosts(url):
    with pytest.raises(LoadError, match=r"a number in disguise.*write the address as"):
        checked_url(url, allow_http=False)


@pytest.mark.parametrize(
    "url",
    ["https://e.com\\@127.0.0.1/", "https://e.com/\r\nX: y", "https://e.com/\t", "https://①②⑦.0.0.1/", "//e.com", ""],
)
def test_urls_that_two_readers_would_read_differently(url):
    with pytest.raises(LoadError):
        checked_url(url, allow_http=True)


class Canary:
    """Listens on this machine and counts who comes."""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.visits = self._socket.getsockname()[1], 0
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def _listen(self):
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return
            self.visits += 1

    def __exit__(self, *_):
        self._socket.close()


def aimed(url, **fields):
    file = {"url": url, "request": "$rows", "retries": 1, "backoff": 0.001, "timeout": 1.0, **fields}
    return Endpoint(endpoint_settings(file), name="credit")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"])
def test_this_machine_is_not_called_unless_the_file_says_so(host):
    with Canary() as canary:
        with pytest.raises(ModelError, match="nothing was sent: the address behind the url is not allowed"):
            outputs(aimed(f"https://{host}:{canary.port}/"))
        assert canary.visits == 0


def resolver(monkeypatch, *found):
    """Names resolve to the addresses given, one after the other; returns how often it was asked."""
    asked = []

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        addresses = found[min(len(asked), len(found)) - 1]
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(web.socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_name_of_a_place_of_credentials_is_never_called(address, monkeypatch):
    resolver(monkeypatch, [address])
    called = []
    monkeypatch.setattr(web.socket.socket, "connect", lambda self, place: called.append(place))
    with pytest.raises(ModelError, match=r"not allowed.*link-local, or where clouds hand out credentials"):
        outputs(aimed("https://models.example/", private=True))
    assert not called


def test_a_name_that_changes_its_mind_gains_nothing(monkeypatch):
    """Public when it is checked, this machine when it is looked up again: what was checked is what is connected to."""
    with Canary() as canary:
        asked = resolver(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
        called = []

        def connect(self, place):
            called.append(place[0])
            raise ConnectionRefusedError(111, "refused")

        monkeypatch.setattr(web.socket.socket, "connect", connect)
        with pytest.raises(ModelError, match=r"the address behind the url is not allowed.*this machine"):
            outputs(aimed(f"https://models.example:{canary.port}/"))
        assert called == ["93.184.216.34"] and len(asked) == 2 and canary.visits == 0


def test_one_bad_address_among_good_ones_is_enough(monkeypatch):
    resolver(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(ModelError, match=r"lies in a private network.*private: true"):
        outputs(aimed("https://models.example/"))


def test_a_redirect_leads_nowhere():
    with Canary() as canary, Served(answers) as served:
        target = f"http://127.0.0.1:{canary.port}/latest/meta-data"
        for status in (301, 302, 303, 307, 308):
            served.misbehave = lambda call, status=status: Said("", status, {"Location": target})
            with pytest.raises(ModelError, match=r"a redirect .* which is not followed") as caught:
                outputs(endpoint(served))
            assert "meta-data" not in str(caught.value)
        assert canary.visits == 0


def test_no_word_of_a_reply_stands_in_an_error():
    words = "TOPSECRET"
    replies = (
        Said(words, 500), Said(words, 400), Said(words, 403), Said(words.encode(), kind="text/html"),
        Said({words: words}),
        Said(words, 302, {"Location": words}), Said({"predictions": words}), Said({"predictions": [words]}),
        Said(words.encode()), Said(words.encode(), raw=True), Said([], 429, {"Retry-After": words}),
    )  # fmt: skip
    for reply in replies:
        with Served(answers, lambda call, reply=reply: reply) as served:
            with pytest.raises(ModelError) as caught:
                outputs(endpoint(served, retries=1))
            error: BaseException | None = caught.value
            while error is not None:
                assert words not in str(error)
                error = error.__cause__


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    with Canary() as canary, Served(answers) as served:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        torch.testing.assert_close(outputs(endpoint(served)), true(), atol=1e-6, rtol=0)
        assert canary.visits == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for models.example, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days",
         "2", "-subj", "/CN=models.example", "-addext", "subjectAltName=DNS:models.example"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_a_certificate_is_asked_for_the_name_in_the_url(certificate, monkeypatch):
    names = []
    with Served(answers) as served:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        context.sni_callback = lambda line, name, _: names.append(name)
        served._server.socket = context.wrap_socket(served._server.socket, server_side=True)
        resolver(monkeypatch, ["127.0.0.1"])
        fields = {"private": True, "request": {"instances": "$rows"}, "answer": "predictions", "rows": 2}
        own = {"certificate": str(certificate / "cert.pem")}
        model = aimed(f"https://models.example:{served.port}/v1", **fields, **own)
        torch.testing.assert_close(outputs(model), true(), atol=1e-6, rtol=0)
        assert set(names) == {"models.example"}
        assert {call.headers["host"] for call in served.calls} == {f"models.example:{served.port}"}
        for url, given in (("models.example", {}), ("other.example", own)):
            with pytest.raises(ModelError, match=r"the certificate does not prove who answers.*certificate:"):
                outputs(aimed(f"https://{url}:{served.port}/v1", **fields, **given))


def test_a_handshake_that_never_ends_is_left():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = aimed(f"https://127.0.0.1:{silent.getsockname()[1]}/", private=True, timeout=0.2)
        with pytest.raises(ModelError, match="no connection: no answer in time"):
            outputs(model)


def test_no_connection_stays_open_after_an_explanation():
    import pellucid

    with Served(answers) as served:
        model = endpoint(served, concurrency=3, rows=1)
        pellucid.explain(model, X, "occlusion")
        assert model._web._idle == []
