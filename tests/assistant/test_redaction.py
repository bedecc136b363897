"""What goes and what stays; and that it is done at once, whatever the text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.assistant import keys, numbers
from bondhu.domains.assistant.redaction import masked, plain, redacted
from bondhu.errors import InvalidInput

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"

TAKEN_OUT = [
    ("Write to jane.doe@example.com.", "Write to <email>."),
    ("JANE+news@mail.example.co.uk", "<email>"),
    ("<bob@example.org>", "<<email>>"),
    ("mailto:bob_1@sub.example.io?subject=x", "mailto:<email>?subject=x"),
    ("a@b.co,c@d.de", "<email>,<email>"),
    ("用户 wang@example.cn 你好", "用户 <email> 你好"),
    ("Call +1 555 123 4567 now", "Call <phone> now"),
    ("+49 (0)30 1234567", "<phone>"),
    ("+44 20 7946 0958", "<phone>"),
    ("+8801712345678", "<phone>"),
    ("https://wa.me/+4915112345678", "https://wa.me/<phone>"),
    ("0049 30 1234567", "<phone>"),
    ("(555) 123-4567", "<phone>"),
    ("1 (555) 123-4567", "<phone>"),
    ("555-123-4567", "<phone>"),
    ("555.123.4567", "<phone>"),
    ("My number: 212 555 0187", "My number: <phone>"),
    ("020 7946 0958", "<phone>"),
    ("030/1234567", "<phone>"),
    ("01 23 45 67 89", "<phone>"),
    ("01712-345678", "<phone>"),
    ("01712345678", "<phone>"),
    ("98765 43210", "<phone>"),
    ("(11) 91234-5678", "<phone>"),
    ("tel: 5551234567", "tel: <phone>"),
    ("Phone 1234567", "Phone <phone>"),
    ("please call me at 555 1234", "please call me at <phone>"),
    ("on 2024-01-15 030 1234567", "on 2024-01-15 <phone>"),
    ("4111 1111 1111 1111", "<card>"),
    ("4111111111111111", "<card>"),
    ("5500-0000-0000-0004 exp 12/27", "<card> exp 12/27"),
    ("3782 822463 10005", "<card>"),
    ("card 6011000990139424 cvc 123", "card <card> cvc 123"),
    ("4111 1111 1111 1111 123", "<card> 123"),
    ("DE89 3704 0044 0532 0130 00", "<iban>"),
    ("GB82WEST12345698765432", "<iban>"),
    ("pay to nl91 abna 0417 1643 00 please", "pay to <iban> please"),
    ("sk-proj-abcdefghijklmnopqrstuvwx", "<key>"),
    ("sk_live_abcdefghij1234567890", "<key>"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "<key>"),
    ("github_pat_11ABCDEFG0abcdefghijkl_xyz", "<key>"),
    ("AKIAIOSFODNN7EXAMPLE", "<key>"),
    ("AIzaSyA-abcdefghijklmnopqrstuvwxyz12345", "<key>"),
    ("xoxb-123456789012-abcdefghij", "<key>"),
    ("hf_abcdefghijklmnopqrstuvwx", "<key>"),
    (JWT, "<key>"),
    ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer <key>"),
    ('api_key = "abcdefgh"', 'api_key = "<key>"'),
    ("password: hunter2222", "password: <key>"),
    ("my password is hunter2222", "my password is <key>"),
    ("SECRET='a b c d e f'", "SECRET='<key>'"),
    ("postgres://bob:s3cret@db.example.org/x", "postgres://<key>@db.example.org/x"),
    (f"{PEM}\nthen", "<key>\nthen"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE never ended", "<key>"),
    ("anna(at)example.org", "<email>"),
    ("anna [at] example [dot] org", "<email>"),
    ('"anna b"@example.org', "<email>"),
    ("anna@[192.168.0.1]", "<email>"),
    ("иван@почта.рф", "<email>"),
    ("anna＠example.org", "<email>"),
    ("my number is 4155552671", "my number is <phone>"),
    ("call 4155552671", "call <phone>"),
    ("+49\u00a030\u00a01234567", "<phone>"),
    ("+49–30–1234567", "<phone>"),
    ("٠١٧١٢٣٤٥٦٧٨", "<phone>"),
    ("+९१९८७६५४३२१०", "<phone>"),
    ("４１１１１１１１１１１１１１１１", "<card>"),
    ("٤١١١١١١١١١١١١١١١", "<card>"),
    ("4111\u00a01111\u00a01111\u00a01111", "<card>"),
    ("4111–1111–1111–1111", "<card>"),
    ("4111.1111.1111.1111", "<card>"),
    ("4111  1111  1111  1111", "<card>"),
    ("4111\n1111\n1111\n1111", "<card>"),
    ("3782  822463  10005", "<card>"),
    ("card:4111111111111111cvv123", "card:<card>cvv123"),
    ("x4111111111111111", "x<card>"),
    ("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "<iban>"),
    ("de89-3704-0044-0532-0130-00", "<iban>"),
    ("BN DE89370400440532013000x", "BN <iban>x"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZDEyMw==", "Authorization: Basic <key>"),
    ("curl -u admin:S3cretPass! https://x.y", "curl -u <key> https://x.y"),
    ("password: correcthorsebatterystaple", "password: <key>"),
    ("my password is hunter2", "my password is <key>"),
    ("pwd=abc12", "pwd=<key>"),
    ("PGPASSWORD=secretpw psql", "PGPASSWORD=<key> psql"),
    ("passwort: Geheim123", "passwort: <key>"),
    ("Das Kennwort lautet Geheim1", "Das Kennwort lautet <key>"),
    ("contraseña: Secreta123", "contraseña: <key>"),
    ("mot de passe : Secret1234", "mot de passe : <key>"),
    ("senha: segredo1", "senha: <key>"),
    ("wachtwoord is geheim1", "wachtwoord is <key>"),
    ("мой пароль: qwerty12", "мой пароль: <key>"),
    ("密码：abc12345", "密码：<key>"),
    ("パスワードは abc12345", "パスワードは <key>"),
    ("كلمة المرور: abc12345", "كلمة المرور: <key>"),
    ("पासवर्ड: abc12345", "पासवर्ड: <key>"),
    ("পাসওয়ার্ড: abc12345", "পাসওয়ার্ড: <key>"),
    ("my pin is 4921", "my pin is <key>"),
    ("AccountName=x;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1==;", "AccountName=x;AccountKey=<key>;"),
    ("GOCSPX-abcdefghijklmnopqrstuvwx12", "<key>"),
    (f"https://hooks.slack.com/services/T00000000/B00000000/{'X' * 24}", "https://hooks.slack.com/services/<key>"),
    ("bot 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "bot <key>"),
    ("dop_v1_abcdef0123456789abcdef0123456789", "<key>"),
    ("AGE-SECRET-KEY-1QQPQJZQ2W3E4R5T6Y7U8I9O0P", "<key>"),
    (f"private key 0x{'4c08' * 16}", "private key <key>"),
]

LEFT = [
    "2024-01-15",
    "15.01.2024",
    "01/02/2023 10:30",
    "01-02-2023 10",
    "2024-01-15T10:30:22Z",
    "2024-01-15 10:30:22",
    "12:30:45",
    "version 1.22.333",
    "3.11.4",
    "react@18.2.0",
    "192.168.100.200",
    "10.0.0.1:8080",
    "fe80::1ff:fe23:4567:890a",
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "1700000000",
    "1700000000123456789",
    "12345678",
    "order 1234567890",
    "invoice #0123456789",
    "€0301234567",
    "123 456 789",
    "1,000,000,000",
    "3.14159265358979",
    "0.123456789",
    "0.4472546500314755",
    'print("Hashed password:", hash("hunter2"))',
    "1e-10",
    "0000123456",
    "978-3-16-148410-0",
    "1234 5678 9012 3456",
    "4111 1111 1111 1112",
    "GB82WEST12345698765433",
    "ab12 cdef",
    "x[1], y[22], z[333]",
    "for i in range(100000000):",
    "f(123) + 4567890",
    "a @ b",
    "A@B.T",
    "@decorator",
    "user@localhost",
    "https://example.com/0123456789?page=0223456789",
    "https://medium.com/@user/post",
    "git commit -m 'fix'",
    "sk-1",
    "task-force-and-a-long-name",
    "token = get_token2()",
    "password: str",
    "api_key = os.environ",
    "the bearer of news",
    "1 2 3 4 5 6 7 8 9 10 11 12",
    "",
    "নমস্কার, আপনি কেমন আছেন?",
    "rows 10-20, 30-40 and 50-60",
    "password is required",
    "password: required",
    "your password is incorrect, try again",
    "password: SecretStr = Field()",
    "password = settings.password",
    "das Passwort ist falsch",
    "basic understanding of authorization",
    "pin 13 is high",
    f"0x{'4c08' * 16}",
    "4111.1111.1111.1112",
    "１２３４５６７８",
    "look at (at) noon",
    "call 911",
    "anna@localhost",  # what is left, though it could be somebody's
    "anna @ example.org",
    "4155552671",
    "five five five one two",
]

PIECES = [
    "a@b.co", "bob", "@x.io", "+49 30 1234567", "030 1234567", "555-123-4567", "0301234567", "4111 1111 1111 1111",
    "DE89370400440532013000", "sk-abcdefghijklmnop1234", "AKIAABCDEFGHIJKLMNOP", "password=", "tel ", "call me ",
    "<phone>", "<key>", "://", "u:p", "@", "2024-01-15", "123", "0", "12", "(555) ", ".", ",", ":", " ", "-", "+", "(",
    ")", "=", "<", ">", '"', "/", "Bearer ", "Basic ", "Authorization: ", "curl ", "-u ", "password: ", "letters only",
    "abcdefgh", "pin is ", "(at)", "x.org", "4111  1111  1111  1111", "\u00a0", "–", "＠", "４１１１", "my number ",
    "PGPASSWORD=", "eyJhbGciOiJI.eyJzdWIiOiIx", "\n", "98765 43210", "é", "٣",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TAKEN_OUT)
def test_what_names_a_person_or_opens_a_door_is_taken_out(text, expected):
    assert redacted(text) == expected


@pytest.mark.parametrize("text", LEFT)
def test_other_numbers_and_code_stay(text):
    assert redacted(text) == text


def test_there_are_enough_of_both():
    assert len(TAKEN_OUT) >= 40
    assert len(LEFT) >= 40


@given(st.text())
def test_what_is_looked_at_is_as_long_as_the_text(text):
    assert len(plain(text)) == len(text)
    assert plain("１٢३–\u00a0＠Ａ") == "123- @A"


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_doing_it_again_changes_nothing(text):
    assert redacted(redacted(text)) == redacted(text)


@settings(deadline=None)
@given(st.text(), st.sampled_from(["store", "hash", "drop"]))
def test_no_text_is_refused(text, how):
    assert redacted(redacted(text)) == redacted(text)
    assert isinstance(masked(text, how, b"salt"), str)


@pytest.mark.parametrize(
    "piece",
    [
        "0 ",
        "1 ",
        "a",
        "a.a@",
        "a[at]a.",
        "sk-",
        "eyJaaaaaaaa-",
        "password=",
        "4111 ",
        "DE12 ",
        "(12) ",
        "+1",
        "tel 1 ",
        "curl ",
        "01 23x ",
        "１ ",
        "12345678:",
        "password=1",
        'token="1 ',
    ],
)
def test_a_long_text_of_beginnings_is_read_to_its_end(piece):
    text = piece * 2_000
    assert redacted(f"{text} jane@example.com").endswith("<email>")


@pytest.mark.parametrize("end", ["(", "<email>", " ", ""])
@pytest.mark.parametrize("count", [100, 3_000])
def test_the_end_of_a_secret_is_looked_for_once_however_many_words_stand_before_it(monkeypatch, end, count):
    """What a bracket or a mark ends is no secret: each word before it would else read all of it again."""
    ends, real = [], keys._end_of_run
    monkeypatch.setattr(keys, "_end_of_run", lambda text, begin: ends.append(real(text, begin)) or ends[-1])
    text = f"{'password=1' * count}{end}"
    assert keys.named(text) == ([] if end in ("(", "<email>") else [(9, 10 * count)])
    assert ends == [10 * count]


@pytest.mark.parametrize("count", [100, 3_000])
def test_each_group_of_digits_is_tried_as_a_card_twice_at_most(monkeypatch, count):
    tried, real = [], numbers._is_card
    monkeypatch.setattr(numbers, "_is_card", lambda number: tried.append(len(number)) or real(number))
    assert numbers.cards("4111 " * count) == []
    assert len(tried) <= 2 * count
    assert max(tried) <= 24


def test_a_secret_in_quotes_is_taken_out_to_its_end():
    assert redacted('password="abc1234 def ghi" x') == 'password="<key>" x'
    assert redacted("secret=abchunter2password is hunter2") == "secret=<key> is <key>"


def test_a_mask_keeps_which_words_are_the_same_and_nothing_else():
    kept = masked("The cat, the dog, the cat!", "hash", b"salt").split()
    assert kept[0] == kept[2] == kept[4]
    assert kept[1] == kept[5] != kept[3]
    assert all(re.fullmatch("[0-9a-f]{8}", word) for word in kept)
    assert masked("the cat", "hash", b"other").split()[0] != kept[0]


def test_a_mask_stores_redacted_or_drops():
    assert masked("to bob@example.org", "store", b"") == "to <email>"
    assert masked("to bob@example.org", "drop", b"") == ""
    assert masked("to bob@example.org", "hash", b"") == masked("to eve@example.org", "hash", b"")


def test_an_unknown_way_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match=r"'hsah'.*Did you mean 'hash'"):
        masked("x", "hsah", b"")
