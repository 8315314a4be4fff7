package model

import (
	"fmt"
	"slices"
	"strings"
)

// The model of appends: the fold of a JSON Lines file, whose lines go to its end in place. There is no temporary file that
// tells whether a step happened; the record carries the lines instead, and whoever finds it unsettled looks for them: what
// is there of them is written again, and where nothing is, it did not happen.
// Sidecars are not in it: what is journaled is on disk from the beginning.

// AppendConfig is one world of appends.
type AppendConfig struct {
	// Programs: J a change that is journaled and acknowledged already, A one that its process carries in memory and
	// acknowledges when its append is settled. Each process folds everything and its own.
	Programs  []string
	Kills     int
	Losses    int
	Outsiders int // lines that a program without a lock appends, without fsync
	Faults    int // fsyncs that fail
}

func (c AppendConfig) String() string {
	return fmt.Sprintf("%s, kills %d, power losses %d, outsiders %d, faults %d", strings.Join(c.Programs, " "), c.Kills, c.Losses, c.Outsiders, c.Faults)
}

// AppendVariant is the protocol of appends with one thing wrong.
type AppendVariant struct {
	Name    string
	without []appendStep
	early   [2]appendStep // the first one is done before the second
	weak    appendWeakness
	World   AppendConfig
	Finds   Breach
}

type appendWeakness uint8

const (
	_             appendWeakness = iota
	redoLooksOnly                // what is whole is not written again
	redoAppends                  // the lines are written again at the end, whatever is there
	redoCompletes                // the lines are written at the end where nothing of them is there
	redoNothing                  // a record means that it happened
	keepFailed                   // a record whose fsync failed is left as it is
	forgetLength                 // whether somebody appended meanwhile is not looked at, the place is that of the record
)

type appendStep uint8

const (
	aDone appendStep = iota
	aStuck
	aLock
	aRead
	aRewriteRecord
	aSyncOldRecord
	aRedo
	aSyncRedo
	aSettleRedo
	aRecord
	aSyncRecord
	aTakeBack
	aSyncTakeBack
	aCheck
	aCancel
	aSyncCancel
	aAppend
	aSyncTarget
	aSettle
	aUnlock
)

var appendOrder = []appendStep{
	aLock, aRead, aRewriteRecord, aSyncOldRecord, aRedo, aSyncRedo, aSettleRedo,
	aRecord, aSyncRecord, aCheck, aAppend, aSyncTarget, aSettle, aUnlock,
}

var appendLabels = [...]string{
	aLock: "lock", aRead: "read target, records and settled", aRewriteRecord: "write the newest record again", aSyncOldRecord: "fsync it",
	aRedo: "is any of the record's lines there? Then write them again, where they are", aSyncRedo: "fsync the target", aSettleRedo: "write settled",
	aRecord: "write the other record, with the lines", aSyncRecord: "fsync it", aTakeBack: "take the record back, in its own file",
	aSyncTakeBack: "fsync it", aCheck: "stat: the target is as long as it was", aCancel: "write a record that takes the last one back",
	aSyncCancel: "fsync it", aAppend: "append the lines", aSyncTarget: "fsync the target", aSettle: "write settled; acknowledge", aUnlock: "unlock",
}

const (
	maxSegments = 8
	outsideLine = 1 << 7
)

// segment is one write to the end of the log: the lines of a block, or an outsider's.
type segment struct {
	who    uint8 // bits of changes; outsideLine
	form   form
	onDisk bool
	clean  bool // an fsync failed: the next one passes it over
}

type form uint8

const (
	whole form = iota
	torn       // its beginning only, at the end of the file
	hole       // zeros
)

type appendRecord struct {
	gen           uint8
	valid         bool
	block         uint8 // 0: only the watermarks move
	before, after uint8 // changes that are in the target
	from          uint8 // length of the target, in segments
}

type appendRecordFile struct {
	disk, cache appendRecord
	dirty       bool
}

type appendProcess struct {
	pc    appendStep
	own   uint8 // 0: none, or given up
	marks uint8
	block uint8
	from  uint8
}

type appendState struct {
	log       [maxSegments]segment
	n         uint8
	records   [2]appendRecordFile
	settled   uint8
	acked     uint8 // outsideLine: an outsider's line is there
	failed    uint8 // its caller was told that it did not happen
	lock      uint8
	procs     [2]appendProcess
	kills     uint8
	losses    uint8
	outsiders uint8
	faults    uint8
}

type appendModel struct {
	AppendConfig
	weak      appendWeakness
	next      map[appendStep]appendStep
	first     appendStep // behind aRead where the last record is settled
	redo      appendStep // behind aRead where it is not
	journaled uint8
}

func newAppendModel(c AppendConfig, v AppendVariant) *appendModel {
	m := &appendModel{AppendConfig: c, weak: v.weak, next: map[appendStep]appendStep{aTakeBack: aSyncTakeBack, aSyncTakeBack: aUnlock, aCancel: aSyncCancel, aSyncCancel: aRead}}
	steps := slices.DeleteFunc(slices.Clone(appendOrder), func(s appendStep) bool { return slices.Contains(v.without, s) })
	if v.early[0] != v.early[1] {
		i := slices.Index(steps, v.early[0])
		steps = slices.Delete(steps, i, i+1)
		steps = slices.Insert(steps, slices.Index(steps, v.early[1]), v.early[0])
	}
	for i := range steps[:len(steps)-1] {
		m.next[steps[i]] = steps[i+1]
	}
	m.redo = m.next[aRead]
	m.first = steps[slices.Index(steps, aSettleRedo)+1]
	for i, program := range c.Programs {
		if program == "J" {
			m.journaled |= 1 << i
		}
	}
	return m
}

func (m *appendModel) initial() appendState {
	s := appendState{kills: uint8(m.Kills), losses: uint8(m.Losses), outsiders: uint8(m.Outsiders), faults: uint8(m.Faults), settled: 3, acked: m.journaled}
	for gen := uint8(2); gen <= 3; gen++ {
		r := appendRecord{gen: gen, valid: true}
		s.records[gen&1] = appendRecordFile{disk: r, cache: r}
	}
	for i, program := range m.Programs {
		s.procs[i].pc = aLock
		if program == "A" {
			s.procs[i].own = 1 << i
		}
	}
	return s
}

func (s *appendState) newest() *appendRecord {
	var best *appendRecord
	for i := range s.records {
		if r := &s.records[i].cache; r.valid && (best == nil || r.gen > best.gen) {
			best = r
		}
	}
	return best
}

func (s *appendState) write(r appendRecord) {
	f := &s.records[r.gen&1]
	f.cache, f.dirty = r, true
}

func (f *appendRecordFile) sync() {
	if f.dirty {
		f.disk, f.dirty = f.cache, false
	}
}

func (s *appendState) put(i uint8, who uint8) {
	if i == maxSegments {
		panic("the bounds of the model are too small: raise maxSegments")
	}
	s.log[i] = segment{who: who}
	s.n = max(s.n, i+1)
}

func (s *appendState) syncLog() {
	for i := range s.log[:s.n] {
		if !s.log[i].clean {
			s.log[i].onDisk = true
		}
	}
}

func (s *appendState) failSyncLog() {
	for i := range s.log[:s.n] {
		if !s.log[i].onDisk {
			s.log[i].clean = true
		}
	}
}

// step makes the call that process i is at; fails: the fsync in it fails.
func (m *appendModel) step(s *appendState, i int, fails bool) {
	p := &s.procs[i]
	at := p.pc
	p.pc = m.next[at]
	giveUp := func(known bool) {
		if known {
			s.failed |= p.own
		}
		p.own = 0
		p.pc = aUnlock
	}
	switch at {
	case aLock:
		s.lock = uint8(i) + 1
	case aRead:
		last := s.newest()
		if last == nil {
			s.lock, p.pc = 0, aStuck
			return
		}
		p.from, p.block = s.n, 0
		if p.pc = m.redo; s.settled == last.gen {
			p.marks, p.pc = last.after, m.first
		}
	case aRewriteRecord:
		s.records[s.newest().gen&1].dirty = true
	case aSyncOldRecord, aSyncRecord, aSyncTakeBack, aSyncCancel:
		f := &s.records[s.newest().gen&1]
		switch {
		case !fails:
			f.sync()
			if at == aSyncTakeBack {
				giveUp(true)
			}
		case at == aSyncRecord && m.weak != keepFailed:
			f.dirty, p.pc = false, aTakeBack
		default:
			f.dirty = false
			giveUp(at == aSyncOldRecord || at == aSyncRecord)
		}
	case aRedo:
		last := s.newest()
		p.marks = last.after
		if last.block == 0 || m.weak == redoNothing {
			break
		}
		place := s.n
		for j := last.from; j < s.n && m.weak != redoAppends; j++ {
			if s.log[j].who == last.block {
				place = j
				break
			}
		}
		switch {
		case place == s.n && m.weak != redoAppends && m.weak != redoCompletes:
			p.marks, p.pc = last.before, m.first // it did not happen
		case m.weak == redoLooksOnly && s.log[place].form == whole:
		case place < s.n && s.log[place].form == whole:
			s.log[place].clean = false // the same bytes in place: nothing can be lost of what is on disk
		default:
			s.put(place, last.block)
			p.from = s.n
		}
	case aSyncRedo, aSyncTarget:
		if fails {
			s.failSyncLog()
			giveUp(at == aSyncRedo)
			return
		}
		s.syncLog()
	case aSettleRedo:
		s.settled = s.newest().gen
	case aRecord:
		if p.block == 0 {
			p.block = m.journaled&^p.marks | p.own
		}
		if p.block == 0 {
			p.pc = aUnlock
			return
		}
		s.write(appendRecord{gen: s.newest().gen + 1, valid: true, block: p.block, before: p.marks, after: p.marks | p.block, from: p.from})
	case aTakeBack:
		r := *s.newest()
		s.write(appendRecord{gen: r.gen, valid: true, before: r.before, after: r.before, from: r.from})
	case aCheck:
		if s.n != p.from {
			p.pc = aCancel
		}
	case aCancel:
		r := *s.newest()
		s.write(appendRecord{gen: r.gen + 1, valid: true, before: r.before, after: r.before, from: r.from})
	case aAppend:
		if p.block == 0 { // too early
			p.block = m.journaled&^p.marks | p.own
		}
		if p.block == 0 {
			break
		}
		place := s.n
		if m.weak == forgetLength {
			place = p.from
		}
		s.put(place, p.block)
	case aSettle:
		s.settled = s.newest().gen
		s.acked |= p.own
		p.own = 0
	case aUnlock:
		s.lock, p.pc = 0, aDone
	}
}

func canFail(at appendStep) bool { return strings.Contains(appendLabels[at], "fsync") }

func (m *appendModel) restart(s *appendState, i int) {
	if s.lock == uint8(i)+1 {
		s.lock = 0
	}
	s.procs[i] = appendProcess{pc: aLock}
}

func (m *appendModel) successors(s *appendState, emit func(appendState, string)) {
	for i := range m.Programs {
		p := s.procs[i]
		if p.pc == aDone || p.pc == aStuck || p.pc == aLock && s.lock != 0 {
			continue
		}
		t := *s
		m.step(&t, i, false)
		emit(t, fmt.Sprintf("P%d %s", i, appendLabels[p.pc]))
		if s.faults > 0 && canFail(p.pc) {
			t := *s
			t.faults--
			m.step(&t, i, true)
			emit(t, fmt.Sprintf("P%d %s: FAILS", i, appendLabels[p.pc]))
		}
		if s.kills > 0 {
			t := *s
			t.kills--
			m.restart(&t, i)
			emit(t, fmt.Sprintf("P%d killed", i))
		}
	}
	if s.outsiders > 0 && (s.n == 0 || s.log[s.n-1].form != torn) {
		t := *s
		t.outsiders--
		t.put(t.n, outsideLine)
		t.acked |= outsideLine
		emit(t, "an outsider appends a line")
	}
	if s.losses > 0 {
		t := *s
		t.losses--
		for i := range m.Programs {
			m.restart(&t, i)
		}
		t.powerCuts(func(u appendState) { emit(u, "the power fails") })
	}
}

// powerCuts visits every disk: of each segment that is not on disk all, zeros, or, behind the last one that is, its
// beginning or nothing; of each record the old one, the new one, or a torn one; settled or none.
func (s *appendState) powerCuts(visit func(appendState)) {
	kept := uint8(0)
	for i := range s.n {
		if s.log[i].onDisk {
			kept = i + 1
		}
	}
	for length := kept; length <= s.n; length++ {
		s.cutSegments(0, length, func(t appendState) {
			t.n = length
			clear(t.log[length:])
			if !slices.ContainsFunc(t.log[:length], func(g segment) bool { return g.who == outsideLine && g.form == whole }) {
				t.acked &^= outsideLine
			}
			t.cutRecords(0, func(t appendState) {
				visit(t)
				t.settled = 0
				visit(t)
			})
		})
	}
}

func (s *appendState) cutSegments(i, length uint8, visit func(appendState)) {
	for i < length && s.log[i].onDisk {
		i++
	}
	if i == length {
		visit(*s)
		return
	}
	forms := []form{whole, hole}
	if i == length-1 {
		forms = append(forms, torn)
	}
	for _, f := range forms {
		t := *s
		t.log[i] = segment{who: s.log[i].who, form: max(f, s.log[i].form), onDisk: true}
		t.cutSegments(i+1, length, visit)
	}
}

func (s *appendState) cutRecords(i int, visit func(appendState)) {
	if i == len(s.records) {
		visit(*s)
		return
	}
	f := s.records[i]
	outcomes := []appendRecord{f.disk}
	if f.dirty && f.disk != f.cache {
		outcomes = []appendRecord{f.disk, f.cache, {}}
	}
	for _, r := range outcomes {
		t := *s
		t.records[i] = appendRecordFile{disk: r, cache: r}
		t.cutRecords(i+1, visit)
	}
}

// broken looks at what a reader sees at any time.
func (m *appendModel) broken(s *appendState) (Breach, string) {
	for c := range m.Programs {
		if n := s.count(1 << c); n > 1 {
			return Twice, fmt.Sprintf("change %s is in the target %d times", letter(c), n)
		}
	}
	if s.acked&outsideLine != 0 && s.count(outsideLine) == 0 {
		return Lost, "the outsider's line is lost"
	}
	return Kept, ""
}

func (s *appendState) count(who uint8) (n int) {
	for _, g := range s.log[:s.n] {
		if g.form == whole && g.who&who != 0 {
			n++
		}
	}
	return n
}

// recovered kills everybody, lets one process recover, and says what is broken then.
func (m *appendModel) recovered(s appendState) (Breach, string) {
	for i := range m.Programs {
		m.restart(&s, i)
	}
	for s.procs[0].pc != aDone {
		if s.procs[0].pc == aStuck {
			return Stuck, "recovery stops: no valid commit record"
		}
		m.step(&s, 0, false)
	}
	if b, what := m.broken(&s); b != Kept {
		return b, "after recovery, " + what
	}
	for c := range m.Programs {
		if s.acked>>c&1 == 1 && s.count(1<<c) != 1 {
			return Lost, fmt.Sprintf("change %s was acknowledged and is not in the target after recovery", letter(c))
		}
		if s.failed>>c&1 == 1 && s.count(1<<c) != 0 {
			return Contrary, fmt.Sprintf("change %s was said to have failed and is in the target after recovery", letter(c))
		}
	}
	for _, g := range s.log[:s.n] {
		if g.form != whole && g.who != outsideLine {
			return Torn, "the target has a torn line after recovery"
		}
	}
	return Kept, ""
}

// search visits all states breadth first.
func (m *appendModel) search() Result {
	type origin struct {
		parent int
		by     string
	}
	var states []appendState
	var origins []origin
	visited := map[appendState]bool{}
	var result Result
	add := func(s appendState, parent int, by string) bool {
		result.Transitions++
		if visited[s] {
			return true
		}
		visited[s] = true
		states, origins = append(states, s), append(origins, origin{parent, by})
		if result.Breach, result.Violation = m.broken(&s); result.Breach == Kept {
			result.Breach, result.Violation = m.recovered(s)
		}
		return result.Breach == Kept
	}
	ok := add(m.initial(), -1, "start")
	for i := 0; i < len(states) && ok; i++ {
		s := states[i]
		m.successors(&s, func(t appendState, by string) { ok = ok && add(t, i, by) })
	}
	result.States, result.Complete = len(states), ok
	if !ok {
		for i := len(states) - 1; i >= 0; i = origins[i].parent {
			result.Trace = append(result.Trace, fmt.Sprintf("%-75s %s", origins[i].by, states[i].describe()))
		}
		slices.Reverse(result.Trace)
		result.Trace = append(result.Trace, "broken: "+result.Violation)
	}
	return result
}

func (s *appendState) describe() string {
	var b strings.Builder
	for _, g := range s.log[:s.n] {
		name := set(g.who)
		if g.who == outsideLine {
			name = "X"
		}
		fmt.Fprintf(&b, "%s%s ", name, [...]string{"", "(torn)", "(zeros)"}[g.form])
		if !g.onDisk {
			b.WriteString("[unsynced] ")
		}
	}
	if r := s.newest(); r != nil {
		fmt.Fprintf(&b, "; record g%d appends %s %s→%s", r.gen, set(r.block), set(r.before), set(r.after))
	}
	fmt.Fprintf(&b, "; settled g%d; acknowledged %s", s.settled, set(s.acked))
	return b.String()
}

// AppendWorlds in which the protocol of appends has to hold.
var AppendWorlds = []AppendConfig{
	{Programs: []string{"J", "A"}, Kills: 1, Losses: 1},
	{Programs: []string{"A", "A"}, Kills: 1, Losses: 1, Outsiders: 1},
	{Programs: []string{"J", "A"}, Losses: 1, Faults: 1},
	{Programs: []string{"A", "J"}, Kills: 1, Outsiders: 1, Faults: 1},
	{Programs: []string{"J", "A"}, Losses: 2, Outsiders: 1},
}

// AppendVariants are the ways to be wrong.
var AppendVariants = []AppendVariant{
	{Name: "the record of an append is not synced", without: []appendStep{aSyncRecord}, World: AppendConfig{Programs: []string{"J"}, Losses: 1}, Finds: Twice},
	{Name: "the lines are appended before their record", without: []appendStep{aCheck}, early: [2]appendStep{aAppend, aRecord}, World: AppendConfig{Programs: []string{"J"}, Kills: 1}, Finds: Twice},
	{Name: "appended lines are not synced", without: []appendStep{aSyncTarget}, World: AppendConfig{Programs: []string{"A"}, Losses: 1}, Finds: Lost},
	{Name: "an append is settled before its lines are synced", early: [2]appendStep{aSettle, aSyncTarget}, World: AppendConfig{Programs: []string{"J"}, Losses: 1}, Finds: Lost},
	{Name: "an unsettled record of an append is not synced", without: []appendStep{aRewriteRecord, aSyncOldRecord}, World: AppendConfig{Programs: []string{"J", "A"}, Kills: 1, Losses: 1}, Finds: Stuck},
	{Name: "lines that were written again are not synced", without: []appendStep{aSyncRedo}, World: AppendConfig{Programs: []string{"J", "A"}, Kills: 1, Losses: 1}, Finds: Lost},
	{Name: "lines that are found whole are not written again", weak: redoLooksOnly, World: AppendConfig{Programs: []string{"J", "A"}, Losses: 1, Faults: 1}, Finds: Lost},
	{Name: "lines are written again at the end, whatever is there", weak: redoAppends, World: AppendConfig{Programs: []string{"J"}, Kills: 1}, Finds: Twice},
	{Name: "lines of which nothing is there are appended under the old record", weak: redoCompletes, World: AppendConfig{Programs: []string{"J", "A"}, Losses: 1, Kills: 1, Outsiders: 1}, Finds: Twice},
	{Name: "a record of an append means that it happened", weak: redoNothing, World: AppendConfig{Programs: []string{"J"}, Kills: 1}, Finds: Lost},
	{Name: "lines are appended where the end was", without: []appendStep{aCheck}, weak: forgetLength, World: AppendConfig{Programs: []string{"A"}, Outsiders: 1}, Finds: Lost},
}

// AppendHarmless: in the code it is wanted for outsiders who append the very lines of the record, which this model tells
// apart and nobody else can.
var AppendHarmless = []AppendVariant{
	{Name: "a record whose sync failed is not taken back", weak: keepFailed},
}
