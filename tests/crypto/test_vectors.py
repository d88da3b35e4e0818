"""The primitives against the vectors that their specifications publish."""

from __future__ import annotations

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import primitives

unhex = bytes.fromhex

# RFC 7748, section 6.1: private keys
ALICE = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")

# RFC 8032, section 7.1: private key, public key, message, signature
ED25519 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
)

# draft-connolly-cfrg-xwing-kem-08, appendix C, first vector: ML-KEM-768 ciphertext, then X25519 public key
X_WING_CIPHERTEXT = unhex(
    """
    b83aa828d4d62b9a83ceffe1d3d3bb1ef31264643c070c5798927e41fb07914a273f8f96e7826cd5375a283d7da885304c5de0516a0f0654
    243dc5b97f8bfeb831f68251219aabdd723bc6512041acbaef8af44265524942b902e68ffd23221cda70b1b55d776a92d1143ea3a0c475f6
    3ee6890157c7116dae3f62bf72f60acd2bb8cc31ce2ba0de364f52b8ed38c79d719715963a5dd3842d8e8b43ab704e4759b5327bf027c63c
    8fa857c4908d5a8a7b88ac7f2be394d93c3706ddd4e698cc6ce370101f4d0213254238b4a2e8821b6e414a1cf20f6c1244b699046f5a01ca
    a0a1a55516300b40d2048c77cc73afba79afeea9d2c0118bdf2adb8870dc328c5516cc45b1a2058141039e2c90a110a9e16b318dfb53bd49
    a126d6b73f215787517b8917cc01cabd107d06859854ee8b4f9861c226d3764c87339ab16c3667d2f49384e55456dd40414b70a6af841585
    f4c90c68725d57704ee8ee7ce6e2f9be582dbee985e038ffc346ebfb4e22158b6c84374a9ab4a44e1f91de5aac5197f89bc5e5442f51f9a5
    937b102ba3beaebf6e1c58380a4a5fedce4a4e5026f88f528f59ffd2db41752b3a3d90efabe463899b7d40870c530c8841e8712b733668ed
    033adbfafb2d49d37a44d4064e5863eb0af0a08d47b3cc888373bc05f7a33b841bc2587c57eb69554e8a3767b7506917b6b70498727f16ea
    c1a36ec8d8cfaf751549f2277db277e8a55a9a5106b23a0206b4721fa9b3048552c5bd5b594d6e247f38c18c591aea7f56249c72ce7b117a
    fcc3a8621582f9cf71787e183dee09367976e98409ad9217a497df888042384d7707a6b78f5f7fb8409e3b535175373461b776002d799cba
    d62860be70573ecbe13b246e0da7e93a52168e0fb6a9756b895ef7f0147a0dc81bfa644b088a9228160c0f9acf1379a2941cd28c06ebc80e
    44e17aa2f8177010afd78a97ce0868d1629ebb294c5151812c583daeb88685220f4da9118112e07041fcc24d5564a99fdbde28869fe07223
    87d7a9a4d16e1cc8555917e09944aa5ebaaaec2cf62693afad42a3f518fce67d273cc6c9fb5472b380e8573ec7de06a3ba2fd5f931d725b4
    93026cb0acbd3fe62d00e4c790d965d7a03a3c0b4222ba8c2a9a16e2ac658f572ae0e746eafc4feba023576f08942278a041fb82a70a595d
    5bacbf297ce2029898a71e5c3b0d1c6228b485b1ade509b35fbca7eca97b2132e7cb6bc465375146b7dceac969308ac0c2ac89e7863eb894
    3015b24314cafb9c7c0e85fe543d56658c213632599efabfc1ec49dd8c88547bb2cc40c9d38cbd3099b4547840560531d0188cd1e9c23a0e
    bee0a03d5577d66b1d2bcb4baaf21cc7fef1e03806ca96299df0dfbc56e1b2b43e4fc20c37f834c4af62127e7dae86c3c25a2f696ac8b589
    dec71d595bfbe94b5ed4bc07d800b330796fda89edb77be0294136139354eb8cd37591578f9c600dd9be8ec6219fdd507adf3397ed4d6870
    7b8d13b24ce4cd8fb22851bfe9d632407f31ed6f7cb1600de56f17576740ce2a32fc5145030145cfb97e63e0e41d354274a079d3e6fb2e15
    """
)


class HashVectorTests(SynchronousTestCase):
    """SHA-256, SHA-512, HMAC, HKDF and scrypt."""

    def test_sha256(self) -> None:
        """SHA-256 of "abc" is as in FIPS 180-4 (NIST example values)."""
        self.assertEqual(primitives.sha256(b"abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")

    def test_sha512(self) -> None:
        """SHA-512 of "abc" is as in FIPS 180-4 (NIST example values)."""
        self.assertEqual(
            primitives.sha512(b"abc").hex(),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        )

    def test_hmac(self) -> None:
        """HMAC-SHA-256 gives the values of RFC 4231, sections 4.2 and 4.7 (a key longer than the block)."""
        self.assertEqual(
            primitives.hmac_sha256(b"\x0b" * 20, b"Hi There").hex(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        )
        self.assertEqual(
            primitives.hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First").hex(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        )

    def test_hkdf_basic(self) -> None:
        """HKDF gives the value of RFC 5869, appendix A.1."""
        self.assertEqual(
            primitives.hkdf(
                b"\x0b" * 22, salt=unhex("000102030405060708090a0b0c"), info=unhex("f0f1f2f3f4f5f6f7f8f9"), length=42
            ).hex(),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        )

    def test_hkdf_long(self) -> None:
        """HKDF gives the value of RFC 5869, appendix A.2: longer inputs and output."""
        self.assertEqual(
            primitives.hkdf(bytes(range(0x50)), salt=bytes(range(0x60, 0xB0)), info=bytes(range(0xB0, 0x100)), length=82).hex(),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da"
            "3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        )

    def test_hkdf_without_salt(self) -> None:
        """HKDF gives the value of RFC 5869, appendix A.3: no salt, no info."""
        self.assertEqual(
            primitives.hkdf(b"\x0b" * 22, salt=b"", info=b"", length=42).hex(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        )

    def test_scrypt(self) -> None:
        """scrypt gives the first 32 bytes of two values of RFC 7914, section 12."""
        self.assertEqual(
            primitives.scrypt(b"password", b"NaCl", n=1024, r=8, p=16).hex(),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
        )
        self.assertEqual(
            primitives.scrypt(b"pleaseletmein", b"SodiumChloride", n=16384, r=8, p=1).hex(),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        )


class CurveVectorTests(SynchronousTestCase):
    """X25519 and Ed25519."""

    def test_x25519_function(self) -> None:
        """X25519 gives the two values of RFC 7748, section 5.2; of the second point the unused top bit is cleared first."""
        for scalar, point, result in (
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a413",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ):
            self.assertEqual(primitives.x25519(unhex(scalar), unhex(point)).hex(), result)

    def test_x25519_iterated(self) -> None:
        """X25519 gives the values of RFC 7748, section 5.2, after 1 and after 1000 iterations."""
        scalar = point = unhex("0900000000000000000000000000000000000000000000000000000000000000")
        results = []
        for _ in range(1000):
            scalar, point = primitives.x25519(scalar, point), scalar
            results.append(scalar.hex())
        self.assertEqual(results[0], "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
        self.assertEqual(results[999], "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")

    def test_x25519_agreement(self) -> None:
        """Alice and Bob of RFC 7748, section 6.1, have their public keys and their shared secret."""
        self.assertEqual(
            primitives.x25519_public(ALICE).hex(), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        )
        self.assertEqual(
            primitives.x25519_public(BOB).hex(), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
        )
        shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        self.assertEqual(primitives.x25519(ALICE, primitives.x25519_public(BOB)).hex(), shared)
        self.assertEqual(primitives.x25519(BOB, primitives.x25519_public(ALICE)).hex(), shared)

    def test_ed25519(self) -> None:
        """Ed25519 gives the keys and signatures of RFC 8032, section 7.1: tests 1, 2 and 3."""
        for private, public, message, signature in ED25519:
            self.assertEqual(primitives.ed25519_public(unhex(private)).hex(), public)
            self.assertEqual(primitives.ed25519_sign(unhex(private), unhex(message)).hex(), signature)
            primitives.ed25519_verify(unhex(public), unhex(message), unhex(signature))


class CipherVectorTests(SynchronousTestCase):
    """AES-256-CBC, A256CBC-HS512 and AES-256-GCM-SIV."""

    def test_aes256_cbc(self) -> None:
        """AES-256-CBC gives the four blocks of NIST SP 800-38A, F.2.5, and a fifth that is all padding."""
        sealed = primitives.aes256_cbc_encrypt(
            unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
            bytes(range(16)),
            unhex(
                "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
            ),
        )
        self.assertEqual(len(sealed), 80)
        self.assertEqual(
            sealed[:64].hex(),
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
            "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        )

    def test_a256cbc_hs512(self) -> None:
        """A256CBC-HS512 gives the ciphertext and tag of RFC 7518, appendix B.3, and takes them apart again."""
        key, iv = bytes(range(64)), unhex("1af38c2dc2b96ffdd86694092341bc04")
        plaintext = (
            b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy"
            b" without inconvenience"
        )
        associated_data = b"The second principle of Auguste Kerckhoffs"
        sealed = primitives.a256cbc_hs512_encrypt(key, plaintext, associated_data, iv)
        self.assertEqual(
            sealed.hex(),
            iv.hex() + "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd"
            "822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b"
            "36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3"
            "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b"
            "be2638d09dd7a4930930806d0703b1f6"
            "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5",
        )
        self.assertEqual(primitives.a256cbc_hs512_decrypt(key, sealed, associated_data), plaintext)

    def test_a128cbc_hs256(self) -> None:
        """A128CBC-HS256 gives the ciphertext and tag of RFC 7518, appendix B.1, and takes them apart again."""
        key, iv = bytes(range(32)), unhex("1af38c2dc2b96ffdd86694092341bc04")
        plaintext = (
            b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy"
            b" without inconvenience"
        )
        associated_data = b"The second principle of Auguste Kerckhoffs"
        sealed = primitives.a128cbc_hs256_encrypt(key, plaintext, associated_data, iv)
        self.assertEqual(
            sealed.hex(),
            iv.hex() + "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9"
            "a94ac9b47ad2655c5f10f9aef71427e2fc6f9b3f399a221489f16362c7032336"
            "09d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b"
            "384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade5"
            "4b8851ffb598f7f80074b9473c82e2db"
            "652c3fa36b0a7c5b3219fab3a30bc1c4",
        )
        self.assertEqual(primitives.a128cbc_hs256_decrypt(key, sealed, associated_data), plaintext)

    def test_aes256_gcm_siv(self) -> None:
        """What AES-256-GCM-SIV made in RFC 8452, appendix C.2, opens to the plaintext given there."""
        key, nonce = unhex("01" + "00" * 31), unhex("030000000000000000000000")
        for result, associated_data, plaintext in (
            ("07f5f4169bbf55a8400cd47ea6fd400f", "", ""),
            ("c2ef328e5c71c83b843122130f7364b761e0b97427e3df28", "", "0100000000000000"),
            ("1de22967237a813291213f267e3b452f02d01ae33e4ec854", "01", "0200000000000000"),
        ):
            self.assertEqual(primitives.unseal(key, nonce + unhex(result), unhex(associated_data)).hex(), plaintext)


class KemVectorTests(SynchronousTestCase):
    """ML-KEM-768."""

    def test_x_wing(self) -> None:
        """
        ML-KEM-768 takes part as it should in the first vector of X-Wing (draft-connolly-cfrg-xwing-kem-08, appendix C).

        Of it, the seed, the ciphertext and the shared secret are used here. That the secret comes out proves key
        generation as well: decapsulation encrypts again under the derived public key, and compares.
        """
        expanded = hashlib.shake_256(unhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")).digest(96)
        seed, x25519_private = expanded[:64], expanded[64:]
        kem_ciphertext, x25519_ciphertext = X_WING_CIPHERTEXT[:1088], X_WING_CIPHERTEXT[1088:]
        combined = hashlib.sha3_256(
            primitives.mlkem768_decapsulate(seed, kem_ciphertext)
            + primitives.x25519(x25519_private, x25519_ciphertext)
            + x25519_ciphertext
            + primitives.x25519_public(x25519_private)
            + unhex("5c2e2f2f5e5c")
        )
        self.assertEqual(combined.hexdigest(), "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384")
        public = primitives.mlkem768_public(seed)
        self.assertEqual(public[:36].hex(), "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")
