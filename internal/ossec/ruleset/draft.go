package ruleset

import (
	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// draft is a rule while the files are read: an overwrite changes it in place.
type draft struct {
	rule  *Rule
	load  int // level as siblings are ordered by
	ident     // what an overwrite leaves alone
	body      // what an overwrite replaces, with exceptions in OSSEC
}

// ident is where a rule stands and what it searches.
type ident struct {
	overwrite    bool
	overwritePos ossec.Pos
	ifSID        text
	ifLevel      text
	ifGroup      text
	matchedSID   text
	matchedGroup text
	search       WatchKind
	searches     bool
	watch        *Watch   // what it searches; nil: nothing that exists
	bySID        *Watch   // its own history, when another rule asks for its events
	groupFeeds   []*Watch // the histories it feeds, once per registration
}

// body is what a rule says.
type body struct {
	id           int
	level        int
	accurate     bool
	pos          ossec.Pos
	size         int
	sizePos      ossec.Pos
	frequency    int
	written      int
	timeframe    int
	ignore       int
	noAlert      bool
	groups       string
	groupsID     int
	description  text
	exprs        map[string]*expr
	fields       []fieldExpr
	src, dst     *addressExpr
	decodedAs    *xml.Node
	category     Category
	compiled     *xml.Node
	hours        *xml.Node
	days         *xml.Node
	diff, fts    *xml.Node
	lists        []listElement
	matchedRegex expr
	same         []Operand
	different    []Operand
	sameFields   []int
	notFields    []int
	global       bool
	context      *xml.Node // the first context element, or nil
	log, mail    bool
	noAR         bool
	noFullLog    bool
	noCounter    bool
	ignoreKeys   *Key
	ignoreCheck  *Key
	mitre        []Technique
	info         []Info
	kind         map[Kind]Condition // parsed single conditions
}

type fieldExpr struct {
	expr
	name  string
	field int
	pos   ossec.Pos
}

type addressExpr struct {
	list   Addresses
	negate bool
	words  string
	pos    ossec.Pos
}

type listElement struct {
	cond Condition
	name string // of the list
}
