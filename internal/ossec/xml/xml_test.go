package xml

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// show writes nodes compactly: name, attributes, text in quotes, children.
func show(nodes []*Node) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.Name)
		for _, a := range n.Attrs {
			fmt.Fprintf(&b, " %s=%q", a.Name, a.Value)
		}
		fmt.Fprintf(&b, "%q", n.Text)
		if len(n.Children) > 0 {
			b.WriteString("[" + show(n.Children) + "]")
		}
		b.WriteString(";")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	both := func(src, want string) {
		t.Helper()
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			nodes, err := Parse("f", []byte(src), d)
			if err != nil {
				t.Errorf("%s %q: %v", d, src, err)
			} else if got := show(nodes); got != want {
				t.Errorf("%s %q:\n got %s\nwant %s", d, src, got, want)
			}
		}
	}
	both("", "")
	both("no element at all > \\", "")
	both("<a>x</a>", `a"x";`)
	both("<a>1</a> words <b>2</b>", `a"1";b"2";`)
	both("<a> \n x\t</a>", `a" \n x\t";`)
	both("<a/><b /><c d='e'/><f g=\"h\" />", `a"";b"";c d="e""";f g="h""";`)
	both("<a></a>", `a"";`)
	both("<a\n b= 'c'>x</a>", `a b="c""x";`)
	both("<a b='say \"x\"' c=\"it's\">1</a>", `a b="say \"x\"" c="it's""1";`)
	both("<a>&lt; &amp;</a>", `a"&lt; &amp;";`)
	both(`<a>x\<b</a>`, `a"x\\<b";`)
	both(`<a>\d+\.\s</a>`, `a"\\d+\\.\\s";`)
	both("<a>n<!-- x -->m</a>", `a"nm";`)
	both("<!-- a -- b --><a>1</a><! x !>", `a"1";`)
	both("<!-- <a> ---><b>2</b>", `b"2";`)
	both("<a><![CDATA[ x ]]> <b>1</b> --> y</a>", `a" y";`)
	both("<a>one<b>2</b>three</a>", `a"three"[b"2";];`)
	both("<a><b><c>1</c></b><b/></a>", `a""[b""[c"1";];b"";];`)
	both("\ufeff<?xml version=\"1.0\"?>\n<a>1</a>", `a"1";`)
	both(" \n<?xml version=\"1.0\" ?><a>1</a>", `a"1";`)
	both("<a>\xff\x00\x01é</a>", "a\"\\xff\\x00\\x01é\";")
	both("<a b='' >x</a>", `a b="""x";`)
	both("<a>$X</a>", `a"$X";`)

	// An even run of backslashes lets the tag stand in Wazuh, not in OSSEC.
	for src, want := range map[string]string{
		`<a>x\\</a>`:   `a"x\\\\";`,
		`<a>\\\<b</a>`: `a"\\\\\\<b";`,
	} {
		nodes, err := Parse("f", []byte(src), ossec.Wazuh)
		if err != nil || show(nodes) != want {
			t.Errorf("wazuh %q: %s %v, want %s", src, show(nodes), err, want)
		}
	}
	nodes, err := Parse("f", []byte(`<a>x\\<b</a>`), ossec.OSSEC)
	if want := `a"x\\\\<b";`; err != nil || show(nodes) != want {
		t.Errorf("ossec: %s %v, want %s", show(nodes), err, want)
	}
	if _, err := Parse("f", []byte(`<a>x\\</a>`), ossec.OSSEC); err == nil {
		t.Error("ossec: a backslash run before the closing tag is no error")
	}
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("<a>", MaxDepth+1)
	for _, tt := range []struct{ src, pos, message, hint string }{
		{"<a>", "f:1:1", "never closed", "</a>"},
		{"x\n  <a>1", "f:2:3", "never closed", "</a>"},
		{"<a>\n<b>1</b>", "f:1:1", "<a> is never closed", ""},
		{"</a>", "f:1:1", "closes an element that is not open", ""},
		{"<a>1</a></b>", "f:1:9", "closes an element that is not open", ""},
		{"<a>1</A>", "f:1:5", "</A> stands where the <a>", "write </a>"},
		{"<a>1</a >", "f:1:5", "</a > stands where the <a>", "write </a>"},
		{"<a><b>1</b></c>", "f:1:12", "</c> stands where the <a>", "write </a>"},
		{"<group><b>1</b></rule>", "f:1:16", "</rule> stands where the <group>", "exactly </group>"},
		{"<a", "f:1:1", "no end", `">"`},
		{"<a b", "f:1:1", "no end", ""},
		{"<a <b>", "f:1:4", "has no value", ""},
		{"<a<b>", "f:1:1", "no end", ""},
		{"<>", "f:1:1", "no name", ""},
		{"<a b>", "f:1:4", "no value", ""},
		{"<a b ='c'>", "f:1:4", "no value", "without a space"},
		{"<a ='c'>", "f:1:4", "no value", ""},
		{"<a b=c>", "f:1:4", "not quoted", ""},
		{"<a b='c\">", "f:1:6", "not closed", ""},
		{"<a b='x>y'>", "f:1:6", "not closed", ""},
		{"<a b='c'd='e'>", "f:1:9", "without a space", ""},
		{"<a b='1' b='2'>", "f:1:10", "twice", ""},
		{"<a / >", "f:1:4", "not at its end", ""},
		{"<a>\n<!-- x -></a>", "f:2:1", "comment is never closed", "CDATA"},
		{"<!>", "f:1:1", "comment is never closed", ""},
		{"<?xml <a/>", "f:1:1", "declaration is never closed", ""},
		{deep, fmt.Sprintf("f:1:%d", 3*MaxDepth+1), "more than 1024", ""},
		{"<a>é\t<b c>", "f:1:9", "no value", ""},
		{"<a>\xff\xfe<b c>", "f:1:9", "no value", ""},
		{"<a>" + strings.Repeat("x", MaxText+1) + "</a>", "f:1:4", "longer than", ""},
		{"<a b='" + strings.Repeat("x", MaxText+1) + "'/>", "f:1:7", "longer than", ""},
		{"<" + strings.Repeat("x", MaxText+1) + "/>", "f:1:1", "longer than", ""},
		{`<a>x\</a>`, "f:1:1", "never closed", "the backslash before </a> in line 1"},
	} {
		nodes, err := Parse("f", []byte(tt.src), ossec.Wazuh)
		var f ossec.Finding
		if !errors.As(err, &f) {
			t.Errorf("%.40q: error is %T %v, nodes %s", tt.src, err, err, show(nodes))
			continue
		}
		if f.Pos.String() != tt.pos || !strings.Contains(f.Message, tt.message) || !strings.Contains(f.Hint, tt.hint) || nodes != nil {
			t.Errorf("%.40q: %v, want %s %s (%s)", tt.src, f, tt.pos, tt.message, tt.hint)
		}
		if f.Severity != ossec.Error || f.Code == "" || f.Len == 0 {
			t.Errorf("%.40q: incomplete finding %+v", tt.src, f)
		}
	}
	if _, err := Parse("f", make([]byte, MaxFile+1), ossec.Wazuh); err == nil {
		t.Error("a file over the bound is read")
	}
}

// Mistakes with one mend are mended: the nodes are those of the mended file,
// and applying the fixes gives a file without mistakes.
func TestParseAll(t *testing.T) {
	for _, tt := range []struct{ src, fixed string }{
		{"<c>\n<n>fw</c>\n<e>x</e>\n</c>", "<c>\n<n>fw</n>\n<e>x</e>\n</c>"},
		{"<c>\n<n>fw\n</c>\n<c>\n<e>x</e>\n</c>", "<c>\n<n>fw\n</n></c>\n<c>\n<e>x</e>\n</c>"},
		{"<c>\n<name>fw</nmae>\n</c>", "<c>\n<name>fw</name>\n</c>"},
		{"<c>\n<name>fw</Name ></c>", "<c>\n<name>fw</name></c>"},
		{"<c>\n<x>1</y>\n<z>2</z ></c>", "<c>\n<x>1</x>\n<z>2</z></c>"},
		{"<command><n>1</n></comand>", "<command><n>1</n></command>"},
	} {
		nodes, findings := ParseAll("f", []byte(tt.src), ossec.Wazuh)
		fixed := tt.src
		for i := len(findings) - 1; i >= 0; i-- {
			e := findings[i].Fix
			if e == nil {
				t.Fatalf("%q: no fix in %v", tt.src, findings[i])
			}
			fixed = fixed[:e.Offset] + e.Text + fixed[e.Offset+e.Len:]
		}
		if fixed != tt.fixed {
			t.Errorf("%q: fixed to %q, want %q", tt.src, fixed, tt.fixed)
		}
		want, err := Parse("f", []byte(tt.fixed), ossec.Wazuh)
		if err != nil || show(nodes) != show(want) {
			t.Errorf("%q: nodes %s, of the mended file %s %v", tt.src, show(nodes), show(want), err)
		}
	}
	bad := strings.Repeat("<a>1</b>\n", 10*maxFindings)
	if nodes, findings := ParseAll("f", []byte(bad), ossec.Wazuh); nodes != nil || len(findings) != maxFindings+1 {
		t.Errorf("%d findings, want %d", len(findings), maxFindings+1)
	}
}

func TestPositions(t *testing.T) {
	src := "<a>\n  <é k=\"v\">t<!-- c\n -->xt</é>\n</a>"
	nodes, err := Parse("f", []byte(src), ossec.OSSEC)
	if err != nil {
		t.Fatal(err)
	}
	a, e := nodes[0], nodes[0].Children[0]
	for _, tt := range []struct {
		what string
		pos  ossec.Pos
		want string
		text string // stands there
	}{
		{"element", e.Pos, "f:2:3", "<é"},
		{"attribute", e.Attrs[0].Pos, "f:2:6", "k="},
		{"value", e.Attrs[0].ValuePos, "f:2:9", "v\""},
		{"text", e.TextPos, "f:2:12", "t<!--"},
		{"text 0", e.At(0), "f:2:12", "t<!--"},
		{"text 1", e.At(1), "f:3:5", "xt</"},
		{"text 2", e.At(2), "f:3:6", "t</"},
		{"text end", e.At(99), "f:3:7", "</é>"},
		{"close", e.Close, "f:3:7", "</é>"},
		{"outer close", a.Close, "f:4:1", "</a>"},
	} {
		if tt.pos.String() != tt.want || !strings.HasPrefix(src[tt.pos.Offset:], tt.text) {
			t.Errorf("%s: %s offset %d, want %s %q", tt.what, tt.pos, tt.pos.Offset, tt.want, tt.text)
		}
	}
	if a.End != len(src) || src[e.End:] != "\n</a>" {
		t.Errorf("ends %d %d", a.End, e.End)
	}
	if e.Whole(0, 2) || !e.Whole(1, 3) {
		t.Error("Whole does not see the comment")
	}
	if v, ok := e.Attr("k"); v != "v" || !ok || a.Child("é") != e || a.Child("x") != nil {
		t.Error("Attr or Child")
	}
	bom, err := Parse("f", []byte("\ufeff<a b>"), ossec.Wazuh)
	if f, _ := err.(ossec.Finding); bom != nil || f.Pos.Col != 4 || f.Pos.Offset != 6 {
		t.Errorf("after a byte order mark: %+v", f.Pos)
	}
}

func TestVariables(t *testing.T) {
	const def = `<var name="X">foo|bar</var><VAR NAME='w_2'>$X</VAR>`
	for _, tt := range []struct {
		src  string
		d    ossec.Dialect
		want string
	}{
		{def + `<a>x$X|zz</a>`, ossec.Wazuh, `a"xfoo|bar|zz";`},
		{def + `<a>($x) $x</a>`, ossec.Wazuh, `error`}, // the reference is "x)"
		{def + `<a>$w_2,</a>`, ossec.Wazuh, `a"$X,";`}, // no expansion of a value
		{def + `<a>$X</a>`, ossec.Wazuh, `a"$X";`},     // two bytes
		{def + `<a b="^$X">1</a>`, ossec.Wazuh, `a b="^foo|bar""1";`},
		{`<a>$X|y</a>` + def, ossec.Wazuh, `a"$X|y";`}, // before the definition
		{def + `<a>abc$ $$.</a>`, ossec.Wazuh, `a"abc$ $$.";`},
		{def + `<a>$(srcip) tried</a>`, ossec.Wazuh, `a"$(srcip) tried";`},
		{def + `<a>$(srcip) tried</a>`, ossec.OSSEC, `error`},
		{def + `<a>some$thing</a>`, ossec.Wazuh, `error`},
		{`<a>some$thing</a>`, ossec.Wazuh, `a"some$thing";`},
		{`<a><var name="Y">1</var><b>$Y.$Y</b></a>`, ossec.Wazuh, `a""[b"1.1";];`},
		{`<var value="Y">1</var>`, ossec.Wazuh, `error`},
		{`<var>1</var>`, ossec.Wazuh, `error`},
		{`<var name="">1</var>`, ossec.Wazuh, `error`},
		{`<var name="A">1</var><var name="a">2</var><b>$A.</b>`, ossec.Wazuh, `b"1.";`},
		{`<var name="A">` + strings.Repeat("x", 20000) + `</var><b>` + strings.Repeat("$A.", 20) + `</b>`, ossec.Wazuh, `error`},
	} {
		nodes, err := Parse("f", []byte(tt.src), tt.d)
		if err != nil {
			t.Fatal(tt.src, err)
		}
		got, err := ApplyVariables(nodes, tt.d)
		if tt.want == "error" {
			var f ossec.Finding
			if !errors.As(err, &f) || f.Pos.Line != 1 || f.Len == 0 {
				t.Errorf("%.80q: %v, want an error", tt.src, err)
			}
		} else if err != nil || show(got) != tt.want {
			t.Errorf("%.80q: %s %v, want %s", tt.src, show(got), err, tt.want)
		}
	}
	nodes, _ := Parse("f", []byte("<var name='HOSTS'>x</var>\n<a>in $HOST.</a>"), ossec.Wazuh)
	_, err := ApplyVariables(nodes, ossec.Wazuh)
	if f, _ := err.(ossec.Finding); f.Pos.String() != "f:2:7" || f.Hint != "did you mean $HOSTS?" {
		t.Errorf("%v", err)
	}
}

// TestStockFiles reads every rule, decoder and configuration file of both
// systems with the dialect of its system.
func TestStockFiles(t *testing.T) {
	root := conformance(t)
	files := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".xml" && filepath.Ext(path) != ".conf" {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		d := ossec.Wazuh
		if strings.HasPrefix(rel, "ossec") {
			d = ossec.OSSEC
		}
		nodes, err := Parse(rel, src, d)
		if err != nil {
			t.Error(err)
			return nil
		}
		if filepath.Ext(path) == ".xml" {
			if nodes, err = ApplyVariables(nodes, d); err != nil {
				t.Error(err)
			}
		}
		if len(nodes) == 0 && len(strings.TrimSpace(string(src))) > 0 && filepath.Base(path) != "local_decoder.xml" {
			t.Logf("%s: no elements", rel)
		}
		checkPositions(t, src, nodes)
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 300 {
		t.Errorf("only %d files found under %s", files, root)
	}
}

// checkPositions verifies that each node stands where it says.
func checkPositions(t *testing.T, src []byte, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		if !strings.HasPrefix(string(src[n.Pos.Offset:]), "<"+n.Name) {
			t.Fatalf("%s: <%s> is not there", n.Pos, n.Name)
		}
		if n.Close.Line > 0 && string(src[n.Close.Offset:n.End]) != "</"+n.Name+">" {
			t.Fatalf("%s: </%s> is not there", n.Close, n.Name)
		}
		for i := range n.Attrs {
			if a := &n.Attrs[i]; !strings.HasPrefix(string(src[a.Pos.Offset:]), a.Name) {
				t.Fatalf("%s: attribute %s is not there", a.Pos, a.Name)
			}
		}
		checkPositions(t, src, n.Children)
	}
}

func conformance(t testing.TB) string {
	root := os.Getenv("RIPOSTE_CONFORMANCE")
	if root == "" {
		root = "../../../../shared/conformance"
	}
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no conformance data: %v (set RIPOSTE_CONFORMANCE)", err)
	}
	return root
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"<a b='c'>x\\<y<!-- z --><d/></a>", "<a><b>1</c></a>", "\ufeff<?xml?><a/>", "<var name='X'>1</var><a>$X$Y</a>",
		"<!--><a>", "<a\x00>", "\\<\\\\<!x!>", "<a>\\", "<a/ b='1'/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			nodes, findings := ParseAll("f", src, d)
			for _, x := range findings {
				if x.Pos.Offset < 0 || x.Pos.Offset > len(src) || x.Pos.Line < 1 || x.Pos.Col < 1 {
					t.Fatalf("impossible place %+v", x.Pos)
				}
			}
			if len(findings) == 0 {
				checkPositions(t, src, nodes)
				checkTexts(t, src, nodes)
			}
			if nodes != nil {
				_, _ = ApplyVariables(nodes, d)
			}
		}
	})
}

// checkTexts verifies that each byte of a text stands where At says.
func checkTexts(t *testing.T, src []byte, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		for i := 0; i < len(n.Text); i += 1 + len(n.Text)/20 {
			if at := n.At(i).Offset; src[at] != n.Text[i] {
				t.Fatalf("byte %d of the text of <%s> is %q, in the file %q", i, n.Name, n.Text[i], src[at])
			}
		}
		checkTexts(t, src, n.Children)
	}
}

func BenchmarkParse(b *testing.B) {
	src, err := os.ReadFile(filepath.Join(conformance(b), "ossec", "decoder.xml"))
	if err != nil {
		b.Skip(err)
	}
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := Parse("decoder.xml", src, ossec.OSSEC); err != nil {
			b.Fatal(err)
		}
	}
}
