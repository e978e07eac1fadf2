// Package file follows log files, hundreds of them with one goroutine: while
// they grow, through every kind of rotation, and across restarts of riposte.
//
// A line is neither lost nor repeated when its file is renamed and a new one
// takes the name, once or several times between two looks; when riposte was
// down meanwhile; or when the file is copied and truncated after it was read to
// its end. What was not read by then is looked for in the copy, and may be
// lost; lines written between copying and truncating are lost to every reader:
// that is what copytruncate is. So are lines of a file that was compressed or
// removed before it could be opened.
package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"riposte"
	"riposte/internal/source/lines"
)

// Input is one location to follow.
type Input struct {
	Location  string                   // absolute path; *, ? and [] are wild, %Y and its like stand for the time
	Format    riposte.Format           // of the events
	Framing   Framing                  // how lines become records
	Members   string                   // JSON members, "a":"b","c":"d", that a record of FormatJSON is given
	Exclude   string                   // patterns, separated by commas, of paths that a wild card does not mean
	Keep      func(record string) bool // reports whether a record becomes an event; nil: all do
	FromStart bool                     // on the first start read what is there already; otherwise only what comes
	Max       int                      // longest record in bytes; 0: lines.Max
}

func (in *Input) max() int {
	if in.Max > 0 {
		return in.Max
	}
	return lines.Max
}

// given returns a record with the members that it is given. What is no object
// stays as it is.
func (in *Input) given(record string) string {
	body, ok := strings.CutSuffix(strings.TrimRight(record, " \t"), "}")
	if in.Members == "" || !ok || !strings.HasPrefix(strings.TrimLeft(body, " \t"), "{") {
		return record
	}
	if strings.Trim(body, " \t") != "{" {
		body += ","
	}
	return body + in.Members + "}"
}

// excludes reports whether a path that a wild card takes in is not meant.
func (in *Input) excludes(path string) bool {
	for pattern := range strings.SplitSeq(in.Exclude, ",") {
		if pattern != "" && matchPath(pattern, path) {
			return true
		}
	}
	return false
}

// Options is what a Follower is made of.
type Options struct {
	Inputs []Input // a file that several of them mean belongs to the first

	// Positions are the positions stored last, by source. Those of other
	// sources are ignored.
	Positions map[string]string

	Log *slog.Logger // what an operator should know; nil: nothing

	// Poll is how often everything is looked at besides being watched; 0: every
	// second, or every 100 ms while something cannot be watched.
	Poll time.Duration
}

// Follower follows the files of its inputs.
type Follower struct {
	opt     Options
	log     *slog.Logger
	inputs  []*input
	watch   *watcher
	streams map[string]*stream     // by path
	open    map[fileID]*generation // every open file
	files   map[int]*generation    // by watch
	dirs    map[int][]string       // paths of a watched directory, by watch
	dirWays map[string]int         // the other way round
	dirty   []*stream              // have something to read, or may have
	pending []riposte.Batch        // read, not yet taken
	stored  map[string][]mark      // positions, by path
	blind   bool                   // something cannot be watched
	stale   bool                   // what the locations stand for is to be looked up again
	started bool                   // the first look is over
	looked  time.Time              // when the locations were looked up last
	cost    time.Duration          // how long that took
	said    map[string]string      // the last complaint about a path
	work    *workspace
	now     func() time.Time
	begins  func() (*watcher, error)

	flushAfter time.Duration // a last line without end is delivered when its file was put aside so long ago
	linger     time.Duration // a file that was put aside is closed when it was quiet so long
}

// input is an Input and whether it was known before this start.
type input struct {
	Input
	known bool
}

// SourceOf returns the source key of a file, under which its batches come.
func SourceOf(path string) string { return "file:" + path }

// New makes a follower.
func New(opt Options) (*Follower, error) {
	f := &Follower{
		opt: opt, log: opt.Log, streams: map[string]*stream{}, open: map[fileID]*generation{}, files: map[int]*generation{},
		dirs: map[int][]string{}, dirWays: map[string]int{}, stored: map[string][]mark{}, said: map[string]string{},
		work: &workspace{}, now: time.Now, begins: newWatcher, flushAfter: 5 * time.Second, linger: time.Minute,
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	for source, position := range opt.Positions {
		path, ok := strings.CutPrefix(source, "file:")
		if !ok {
			continue
		}
		marks, err := parsePosition(position)
		if err != nil {
			f.log.Warn("stored position cannot be read, only new lines are followed", "file", path, "error", err)
			continue
		}
		f.stored[path] = marks
	}
	for _, in := range opt.Inputs {
		if !filepath.IsAbs(in.Location) {
			return nil, fmt.Errorf("follow %q: not an absolute path", in.Location)
		}
		if _, err := filepath.Match(strings.ReplaceAll(in.Location, "[!", "[^"), ""); err != nil {
			return nil, fmt.Errorf("follow %q: %w", in.Location, err)
		}
		in.Location = filepath.Clean(in.Location)
		_, known := f.stored[in.Location]
		f.inputs = append(f.inputs, &input{Input: in, known: known})
	}
	return f, nil
}

// Run follows the files until ctx ends and sends their records to out. Each
// batch is of one file and carries its position behind the batch. A batch
// without events tells a new position only: that a location is known from now
// on, or where a file is followed from.
func (f *Follower) Run(ctx context.Context, out chan<- riposte.Batch) error {
	var err error
	if f.watch, err = f.begins(); err != nil {
		f.log.Warn("files are polled", "error", err)
	}
	defer f.close()
	f.begin()
	timer := time.NewTimer(f.pause())
	defer timer.Stop()
	for {
		// Names are looked at between two reads, and while nobody takes what was
		// read, so that a file is open before it can be removed.
		for len(f.pending) == 0 && len(f.dirty) > 0 && ctx.Err() == nil {
			f.readNext()
			select {
			case events, ok := <-f.watch.events:
				f.happened(events, ok)
			default:
			}
		}
		var send chan<- riposte.Batch
		var batch riposte.Batch
		if len(f.pending) > 0 {
			send, batch = out, f.pending[0]
		}
		select {
		case send <- batch:
			f.pending = f.pending[1:]
		case events, ok := <-f.watch.events:
			f.happened(events, ok)
		case <-timer.C:
			f.tick()
			timer.Reset(f.pause())
		case <-ctx.Done():
			return nil
		}
		if f.stale { // looking up may take a tenth of the time, not more
			if wait := f.looked.Add(10 * f.cost).Sub(f.now()); wait <= 0 {
				f.lookUp()
			} else {
				timer.Reset(wait)
			}
		}
	}
}

// pause is the time until everything is looked at again.
func (f *Follower) pause() time.Duration {
	switch {
	case f.opt.Poll > 0:
		return f.opt.Poll
	case f.blind:
		return 100 * time.Millisecond
	}
	return time.Second
}

func (f *Follower) close() {
	f.watch.close()
	for _, g := range f.open {
		_ = g.file.Close()
	}
}

// begin takes the first look, which differs from later ones: what is there and
// was not known is not new.
func (f *Follower) begin() {
	f.lookUp()
	f.resumeGone()
	f.started = true
	for _, in := range f.inputs {
		if _, there := f.streams[in.Location]; !in.known && !there {
			f.pending = append(f.pending, riposte.Batch{Source: SourceOf(in.Location), Position: encodePosition(nil)})
		}
	}
}

// resumeGone takes up the paths that were followed before this start and are
// not there any more: their files may go by other names now, or the time that
// they name is over.
func (f *Follower) resumeGone() {
	for path, marks := range f.stored {
		for _, in := range f.inputs {
			if len(marks) > 0 && f.streams[path] == nil && matchPath(anyTime(in.Location), path) {
				f.look(f.newStream(in, path))
			}
		}
	}
}

// lookUp finds out what the locations stand for now.
func (f *Follower) lookUp() {
	f.stale = false
	f.looked = f.now()
	f.blind = f.watch.events == nil
	var dirs []string
	for _, in := range f.inputs {
		x := expand(at(in.Location, f.looked))
		f.complain(in.Location, x.errs)
		if x.full {
			f.complain(in.Location, fmt.Errorf("more than %d files match, the others are not followed", maxMatches))
		}
		dirs = append(dirs, x.dirs...)
		for _, path := range x.files {
			s := f.streams[path]
			if s == nil {
				if x.wild && (in.excludes(path) || f.rotated(path)) {
					continue
				}
				s = f.newStream(in, path)
			}
			s.wanted = f.looked
		}
	}
	for _, s := range f.streams {
		if s.real != s.path {
			dirs = append(dirs, filepath.Dir(s.real))
		}
	}
	f.watchDirs(dirs)
	for _, s := range f.streams {
		if len(s.gens) > 0 || !s.wanted.Before(f.looked) {
			f.look(s)
		}
	}
	for _, g := range f.open {
		if g.watch == 0 {
			f.watchFile(g)
		}
	}
	f.cost = f.now().Sub(f.looked)
}

// watchDirs watches these directories and no others.
func (f *Follower) watchDirs(dirs []string) {
	ways := make(map[string]int, len(dirs))
	clear(f.dirs)
	for _, dir := range dirs {
		if _, ok := ways[dir]; ok {
			continue
		}
		watch, err := f.watch.addDir(dir) // the same watch again, if the directory is the same
		if err != nil {
			f.blind = true
			if !errors.Is(err, errBlind) {
				f.complain(dir, fmt.Errorf("watch: %w", err))
			}
			continue
		}
		ways[dir] = watch
		f.dirs[watch] = append(f.dirs[watch], dir)
	}
	for dir, watch := range f.dirWays {
		if _, ok := f.dirs[watch]; !ok && ways[dir] != watch {
			f.watch.remove(watch)
		}
	}
	f.dirWays = ways
}

// happened deals with what the watcher saw.
func (f *Follower) happened(events []event, ok bool) {
	if !ok { // the watcher broke
		f.watch.close()
		f.watch, f.blind = &watcher{}, true
		return
	}
	for _, e := range events {
		if e.watch == 0 {
			f.log.Warn("the kernel lost file events, looking at everything")
			f.tick()
			return
		}
		if g := f.files[e.watch]; g != nil {
			f.touch(g.stream)
			continue
		}
		paths, ok := f.dirs[e.watch]
		if !ok {
			continue
		}
		f.stale = true
		for _, dir := range paths {
			path := filepath.Join(dir, e.name)
			for _, s := range f.streams {
				if s.path == path || s.real == path {
					f.look(s)
				}
			}
		}
	}
}

// tick looks at everything: for what cannot be watched, for what ends by
// waiting, and because an event may always be missing.
func (f *Follower) tick() {
	f.lookUp()
	for path, s := range f.streams {
		f.touch(s)
		f.settle(s)
		if len(s.gens) == 0 && f.looked.Sub(s.wanted) > time.Hour {
			delete(f.streams, path)
		}
	}
}

// touch makes sure that a stream is read.
func (f *Follower) touch(s *stream) {
	if !s.dirty {
		s.dirty = true
		f.dirty = append(f.dirty, s)
	}
}

// complain tells an operator about a path, unless the last word about it was
// the same.
func (f *Follower) complain(path string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == f.said[path] {
		return
	}
	if text == "" {
		delete(f.said, path)
		return
	}
	f.said[path] = text
	f.log.Warn("cannot follow", "file", path, "error", text)
}
