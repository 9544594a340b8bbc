"""Variables and quotes: each modifier, each quote, each error, and how words are split."""

from __future__ import annotations

import pytest

from corten.build.expansion import Rules, expand
from corten.errors import InvalidInput

VARIABLES = {
    "name": "value",
    "empty": "",
    "two": "one  two",
    "file": "dir/sub/archive.tar.gz",
    "lines": "a.b\nc.d",
    "dollar": "$0!",
    "star": "*",
    "Länge_1": "ü",
}

TEXTS = [
    # plain text, quotes and escapes
    ("", ""),
    ("plain", "plain"),
    ("it's quo'ted", "its quoted"),
    ("'$name \\a'", "$name \\a"),
    ('"a  b"', "a  b"),
    ('"it\'s"', "it's"),
    ("'\"'", '"'),
    ('"\\"\\$\\\\\\a"', '"$\\\\a'),
    ("\\a\\\\\\'", "a\\'"),
    ("tail\\", "tail"),
    ("\\$name", "$name"),
    ("\\${name}", "${name}"),
    ("\\\\$name", "\\value"),
    # names
    ("$name", "value"),
    ("a$name.b", "avalue.b"),
    ("${name}b", "valueb"),
    ("$Länge_1", "ü"),
    ("$unset|${unset}", "|"),
    ("$", "$"),
    ("$.", "$."),
    ("a$'b'", "a$b"),
    ("$1a", "a"),
    ("$007x", "x"),
    ("$$", ""),
    ("$$$$name", "name"),
    ("$@$*$#$?$-$!$0", ""),
    ("${@}${#}${1}", ""),
    ("${$}", ""),
    ('"$name"', "value"),
    ("${name}}", "value}"),
    ("$two", "one  two"),
    # :- and -
    ("${name:-x}", "value"),
    ("${empty:-x}", "x"),
    ("${empty-x}", ""),
    ("${unset:-x}", "x"),
    ("${unset-x}", "x"),
    ("${unset-}", ""),
    ("${unset:-$name}", "value"),
    ("${unset:-${empty:-${name}}}", "value"),
    ("${unset:-'a}b'}", "a}b"),
    ('${unset:-"$two"}', "one  two"),
    ("${unset:-a\\}b}", "a}b"),
    ("${1:-x}", "x"),
    ("${-:-x}", "x"),
    # :+ and +
    ("${name:+x}", "x"),
    ("${empty:+x}", ""),
    ("${empty+x}", "x"),
    ("${unset:+x}${unset+x}", ""),
    ("${name:+$two}", "one  two"),
    # :? and ?
    ("${name:?no}${name?no}", "valuevalue"),
    ("${empty?no}", ""),
    # # and ##
    ("${file#*/}", "sub/archive.tar.gz"),
    ("${file##*/}", "archive.tar.gz"),
    ("${file#dir}", "/sub/archive.tar.gz"),
    ("${file#sub}", "dir/sub/archive.tar.gz"),
    ("${file#???}", "/sub/archive.tar.gz"),
    ("${file#}", "dir/sub/archive.tar.gz"),
    ("${unset#x}", ""),
    ("${lines#*.}", "b\nc.d"),
    ("${lines##*.}", "b\nc.d"),
    ("${star#\\*}", ""),
    ("${star#$name}", "*"),
    ("${file#$star/}", "sub/archive.tar.gz"),
    # % and %%
    ("${file%.*}", "dir/sub/archive.tar"),
    ("${file%%.*}", "dir/sub/archive"),
    ("${file%/*}", "dir/sub"),
    ("${file%%/*}", "dir"),
    ("${file%gz}", "dir/sub/archive.tar."),
    ("${file%tar}", "dir/sub/archive.tar.gz"),
    ("${file%'.gz'}", "dir/sub/archive.tar"),
    # / and //
    ("${file/sub/x}", "dir/x/archive.tar.gz"),
    ("${file/a*a/x}", "dir/sub/xr.gz"),
    ("${file//r/R}", "diR/sub/aRchive.taR.gz"),
    ("${file//[/x}", "dir/sub/archive.tar.gz"),
    ("${file//\\//-}", "dir-sub-archive.tar.gz"),
    ("${file//?/x}", "x" * 22),
    ("${file//*/x}", "x"),
    ("${name///-}", "-v-a-l-u-e-"),
    ("${name//l/$empty}", "vaue"),
    ("${name/l/$dollar}", "va$0!ue"),
    ("${name//l/$dollar}", "val!ue"),
    ("${lines//?/x}", "xxx\nxxx"),
    ("${empty//*/x}", "x"),
    ("${unset/a/b}", ""),
    ("${name/$name/x}", "x"),
    # what looks like a here-document is text
    ("<<A", "<<A"),
    ("a<b", "a<b"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_a_text_becomes(text: str, expected: str) -> None:
    assert expand(text, VARIABLES).text == expected


REFUSED = [
    ("'open", "unexpected end of statement while looking for matching single-quote"),
    ('"open', "unexpected end of statement while looking for matching double-quote"),
    ('"open\\"', "unexpected end of statement while looking for matching double-quote"),
    ("${", "syntax error: missing '}'"),
    ("${name", "syntax error: missing '}'"),
    ("${name:-a", "syntax error: missing '}'"),
    ("${name:", "syntax error: missing '}'"),
    ("${name:-'a}", "unexpected end of statement while looking for matching single-quote"),
    ('${name:-"a}', "unexpected end of statement while looking for matching double-quote"),
    ("${}", "syntax error: bad substitution"),
    ("${:-a}", "syntax error: bad substitution"),
    ("${{a}}", "syntax error: bad substitution"),
    ("${.}", "unsupported modifier (.) in substitution"),
    ("${name:=a}", "unsupported modifier (:=) in substitution"),
    ("${name=a}", "unsupported modifier (=) in substitution"),
    ("${name^^}", "unsupported modifier (^) in substitution"),
    ("${name:#a}", "unsupported modifier (:#) in substitution"),
    ("${name:%a}", "unsupported modifier (:%) in substitution"),
    ("${name:1:2}", "unsupported modifier (:1) in substitution"),
    ("${unset?}", "unset: is not allowed to be unset"),
    ("${unset:?}", "unset: is not allowed to be unset"),
    ("${unset:?give me $name}", "unset: give me value"),
    ("${empty:?}", "empty: is not allowed to be empty"),
    ("${empty:?no}", "empty: no"),
    ("${name/a", "syntax error: missing '/' in ${}"),
    ("${name/a}", "syntax error: missing '/' in ${}"),
    ("${name/a/b", "syntax error: missing '}'"),
    ("${name#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
    ("${name#" + "a" * 4097 + "}", "a pattern is longer than 4096 characters"),
    ("${a:-" * 101 + "}" * 101, "syntax error: more than 100 substitutions within each other"),
]


@pytest.mark.parametrize(("text", "cause"), REFUSED, ids=[text[:20] for text, _ in REFUSED])
def test_a_text_that_is_refused(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        expand(text, VARIABLES)
    assert caught.value.message.startswith('failed to process "')
    assert caught.value.message.endswith(f'": {cause}')


WORDS = [
    ("a b", ("a", "b")),
    ("  a \t\u00a0 b\n", ("a", "b")),
    ("'a b' c", ("a b", "c")),
    ('a" "b', ("a b",)),
    ("a\\ b", ("a b",)),
    ("x$two", ("xone", "two")),
    ('x"$two"', ("xone  two",)),
    ("${two}x", ("one", "twox")),
    ("'' a \"\"", ("a",)),
    ("$unset", ()),
    ("a${unset:-b c}d", ("ab", "cd")),
    ("cat << EOF", ("cat", "<< EOF")),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words_are_split_where_no_quote_holds_them(text: str, expected: tuple[str, ...]) -> None:
    assert expand(text, VARIABLES).words == expected


def test_the_escape_may_be_a_backtick() -> None:
    rules = Rules(escape="`")
    assert expand("C:\\dir\\ `$name $name", VARIABLES, rules).text == "C:\\dir\\ $name value"
    assert expand('"a`"b\\"', VARIABLES, rules).text == 'a"b\\'


RAW = Rules(raw_quotes=True, raw_escapes=True, keep_unset=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a' \"b\" \\c", "'a' \"b\" \\c"),
        ('"\\"\\a"', '"\\"\\a"'),
        ("$name $unset ${unset}", "value $unset ${unset}"),
        ("${unset:-a}${unset%%b}${unset/a/b}", "${unset:-a}${unset%%b}${unset/a/b}"),
    ],
)
def test_what_is_left_alone(text: str, expected: str) -> None:
    assert expand(text, VARIABLES, RAW).text == expected


def test_quotes_may_be_characters_like_others() -> None:
    assert expand("it's $name\n\\$name", VARIABLES, Rules(plain_quotes=True)).text == "it's value\n$name"


def test_names_with_and_without_a_value_are_told_apart() -> None:
    found = expand("$name ${unset:-$empty} $$ '$two'", VARIABLES)
    assert (found.used, found.unset) == ({"name", "empty"}, {"unset", "$"})


def test_doubling_a_variable_ends_before_the_memory_does() -> None:
    variables = {"x": "a" * 250_000, "y": "a" * 5_000}
    assert len(expand("$x$x$x$x", variables).text) == 1_000_000
    assert len(expand("${n:-${x//a/bb}}", {"x": "a" * 50_000}).text) == 100_000
    for text in (
        "$x$x$x$x$x", "${n:-$x$x$x}${y:-$x$x}", "${n:-${n:-${x//a/b}}}${n:-$x}", "${x//a/aaaaa}", "${x//?/$x}",
        "${y//?/${y//a/b}}",
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="longer than 1048576 characters"):
            expand(text, variables)


def test_patterns_do_not_go_back() -> None:
    """A pattern for which a backtracking matcher would need years."""
    variables = {"x": "a" * 2_000}
    pattern = "*a" * 200 + "b"
    for modifier in ("#", "##", "%", "%%"):
        assert expand(f"${{x{modifier}{pattern}}}", variables).text == variables["x"]
    assert expand(f"${{x//{pattern}/-}}", variables).text == variables["x"]
