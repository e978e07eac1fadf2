package conf

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Characters that look like ASCII but are not come from word processors, web
// pages and foreign keyboards. OSSEC and Wazuh compare bytes, so that such a
// name is another name; a reader of the file cannot see why.

// freeText are elements whose text may hold any character.
var freeText = map[string]bool{"alias": true, "label": true, "out_format": true, "query": true, "multiline_regex": true,
	"filter": true, "ignore": true, "restrict": true, "email_idsname": true}

// paths are elements that name files and commands of the system, whose letters
// may be those of any language: only punctuation is suspect there.
var paths = map[string]bool{"location": true, "exclude": true, "include": true, "rule": true, "decoder": true, "list": true,
	"rule_dir": true, "decoder_dir": true, "rule_include": true, "decoder_include": true, "rule_exclude": true,
	"decoder_exclude": true}

// punctuation that looks like ASCII. U+0000 stands for nothing: the character
// cannot be seen at all.
var punctuation = map[rune]rune{
	'\u00ad': 0, '\u200b': 0, '\u200c': 0, '\u200d': 0, '\u2060': 0, '\ufeff': 0, '\u200e': 0, '\u200f': 0,
	'\u2010': '-', '\u2011': '-', '\u2012': '-', '\u2013': '-', '\u2014': '-', '\u2015': '-', '\u2043': '-', '\u2212': '-',
	'\u02d7': '-', '\ufe58': '-', '\ufe63': '-',
	'\u00a0': ' ', '\u1680': ' ', '\u202f': ' ', '\u205f': ' ', '\u3000': ' ',
	'\u2018': '\'', '\u2019': '\'', '\u201b': '\'', '\u2032': '\'', '\u02bc': '\'',
	'\u201c': '"', '\u201d': '"', '\u201f': '"', '\u2033': '"',
	'\u201a': ',', '\u3001': ',', '\u060c': ',', '\u2024': '.', '\u3002': '.', '\u2044': '/', '\u2215': '/',
	'\u2223': '|', '\u01c0': '|', '\u00a6': '|', '\u2236': ':', '\u02d0': ':', '\ua789': ':', '\u037e': ';', '\u204e': '*',
	'\u2217': '*', '\u02c6': '^', '\u02dc': '~', '\u2039': '<', '\u203a': '>', '\u203c': '!', '\u01c3': '!', '\u02cd': '_',
}

// letters of Greek, Cyrillic and other scripts that look like ASCII ones.
var letters = map[rune]rune{
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'у': 'y', 'х': 'x', 'і': 'i', 'ј': 'j', 'ѕ': 's', 'ԁ': 'd', 'һ': 'h',
	'ԛ': 'q', 'ԝ': 'w', 'ӏ': 'l', 'к': 'k', 'м': 'm', 'т': 't', 'в': 'b', 'н': 'h', 'г': 'r', 'п': 'n', 'и': 'u',
	'А': 'A', 'В': 'B', 'Е': 'E', 'К': 'K', 'М': 'M', 'Н': 'H', 'О': 'O', 'Р': 'P', 'С': 'C', 'Т': 'T', 'У': 'Y', 'Х': 'X',
	'І': 'I', 'Ј': 'J', 'Ѕ': 'S', 'Ԍ': 'G',
	'ο': 'o', 'ν': 'v', 'ι': 'i', 'ρ': 'p', 'α': 'a', 'υ': 'u', 'κ': 'k', 'χ': 'x', 'ϲ': 'c', 'ϳ': 'j',
	'Α': 'A', 'Β': 'B', 'Ε': 'E', 'Ζ': 'Z', 'Η': 'H', 'Ι': 'I', 'Κ': 'K', 'Μ': 'M', 'Ν': 'N', 'Ο': 'O', 'Ρ': 'P', 'Τ': 'T',
	'Υ': 'Y', 'Χ': 'X',
	'ı': 'i', 'ɑ': 'a', 'ɡ': 'g', 'ⅼ': 'l', 'ⅰ': 'i', 'ℓ': 'l', 'ո': 'n', 'օ': 'o', 'ս': 'u', 'հ': 'h',
}

// ascii reports whether s holds nothing but ASCII.
func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plain returns what c looks like, 0 for nothing at all.
func plain(c rune, onlyPunctuation bool) (rune, bool) {
	if p, ok := punctuation[c]; ok {
		return p, true
	}
	if c >= 0x2000 && c <= 0x200a { // spaces of all widths
		return ' ', true
	}
	if onlyPunctuation {
		return 0, false
	}
	if c >= 0xff01 && c <= 0xff5e { // full width ASCII
		return c - 0xff01 + '!', true
	}
	p, ok := letters[c]
	return p, ok
}

// mend returns s in ASCII and the offset of the first look-alike, if it holds
// any and nothing else that is not ASCII.
func mend(s string, onlyPunctuation bool) (mended string, first int, ok bool) {
	if ascii(s) {
		return s, 0, false
	}
	var b strings.Builder
	first = -1
	for i, c := range s {
		if c < utf8.RuneSelf {
			b.WriteRune(c)
			continue
		}
		p, found := plain(c, onlyPunctuation)
		if !found {
			if onlyPunctuation {
				b.WriteRune(c)
				continue
			}
			return s, 0, false
		}
		if first < 0 {
			first = i
		}
		if p != 0 {
			b.WriteRune(p)
		}
	}
	return b.String(), first, first >= 0
}

// describe names a character: "U+2010 '‐'".
func describe(c rune) string {
	if p, _ := plain(c, false); p == 0 || p == ' ' {
		return fmt.Sprintf("U+%04X", c)
	}
	return fmt.Sprintf("U+%04X %q", c, c)
}

// lookalike says what a character looks like.
func lookalike(c rune) string {
	switch p, _ := plain(c, false); p {
	case 0:
		return "nothing"
	case ' ':
		return "a space"
	default:
		return fmt.Sprintf("%q", p)
	}
}
