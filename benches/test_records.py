"""The records of a secured connection, in one thread, beside one call per record of a library for the cipher."""

import struct

import pytest
from Crypto.Cipher import ChaCha20_Poly1305 as PyCryptodome
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lep6 import _core
from world import noise

KEY = noise(56)
READ = 256 << 10
"""Bytes that come from a socket at a time."""
PAYLOADS = pytest.mark.parametrize("payload", [4072, 128 << 10])


def parts(data, size):
    view = memoryview(data)
    return [view[at : at + size] for at in range(0, len(view), size)]


def group(job, payload):
    return f"{job} records of {payload} bytes"


@pytest.fixture(scope="module")
def wires(material):
    def wire(payload):
        return _core.RecordSealer(KEY, from_client=True, payload=payload).seal(material.data)

    return {payload: wire(payload) for payload in (4072, 128 << 10)}


@PAYLOADS
def test_lep6_seals(measure, material, wires, payload):
    def work(_):
        sealer = _core.RecordSealer(KEY, from_client=True, payload=payload)
        return [sealer.seal(part) for part in parts(material.data, payload * (READ // payload))]

    assert b"".join(measure(group("seal", payload), "lep6", work)) == wires[payload]


@PAYLOADS
def test_lep6_opens(measure, material, wires, payload):
    def work(_):
        opener = _core.RecordOpener(KEY, from_client=True)
        return [opener.open(part) for part in parts(wires[payload], READ)]

    assert b"".join(measure(group("open", payload), "lep6", work)) == material.data


def nonce(number):
    counter = number.to_bytes(12, "little")
    return bytes(a ^ b for a, b in zip(counter, KEY[32:44], strict=True)) + bytes(12)


@PAYLOADS
def test_pycryptodome_seals(measure, material, wires, payload):
    def work(_):
        sealed = []
        for number, part in enumerate(parts(material.data, payload)):
            cipher = PyCryptodome.new(key=KEY[:32], nonce=nonce(number))
            sealed += (struct.pack("<II", len(part) + 20, 6), *cipher.encrypt_and_digest(part))
        return sealed

    assert b"".join(measure(group("seal", payload), "pycryptodome", work)) == wires[payload]


@PAYLOADS
def test_pycryptodome_opens(measure, material, wires, payload):
    def work(_):
        opened = []
        for number, record in enumerate(parts(wires[payload], payload + 24)):
            cipher = PyCryptodome.new(key=KEY[:32], nonce=nonce(number))
            opened.append(cipher.decrypt_and_verify(record[8:-16], record[-16:]))
        return opened

    assert b"".join(measure(group("open", payload), "pycryptodome", work)) == material.data


# OpenSSL has no HChaCha20: these are the same bytes under one key, which is less work than the records are.
@PAYLOADS
def test_cryptography_seals(measure, material, payload):
    def work(_):
        cipher = ChaCha20Poly1305(KEY[:32])
        return [
            cipher.encrypt(number.to_bytes(12, "little"), part, None)
            for number, part in enumerate(parts(material.data, payload))
        ]

    sealed = measure(group("seal", payload), "cryptography, one key", work)
    assert sum(map(len, sealed)) == len(material.data) + 16 * len(sealed)


@PAYLOADS
def test_cryptography_opens(measure, material, payload):
    cipher = ChaCha20Poly1305(KEY[:32])
    sealed = [
        cipher.encrypt(number.to_bytes(12, "little"), part, None)
        for number, part in enumerate(parts(material.data, payload))
    ]

    def work(_):
        return [cipher.decrypt(number.to_bytes(12, "little"), part, None) for number, part in enumerate(sealed)]

    assert b"".join(measure(group("open", payload), "cryptography, one key", work)) == material.data
