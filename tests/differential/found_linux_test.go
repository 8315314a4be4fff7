package differential

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// found are sequences that were drawn once, cut to what differed, and that do not differ any more.
var found = map[string]func(p *program){
	"emptied by who only reads it": func(p *program) {
		for _, name := range []string{"a.json", "c.jsonl", document} {
			p.saves(name, `{"a": 2}`+"\n")
			fd := p.opens(name, unix.O_RDONLY|unix.O_TRUNC)
			p.looks(name)
			p.closes(fd)
			p.looks(name)
			p.saves(name, `{"a": 3}`+"\n")
			p.looks(name)
			p.closes(p.opens(name, unix.O_RDONLY|unix.O_TRUNC|unix.O_CREAT))
			p.closes(p.opens("made"+name, unix.O_RDONLY|unix.O_TRUNC|unix.O_CREAT))
			p.looks("made" + name)
		}
	},
	"times that are set": func(p *program) {
		for _, name := range []string{"a.json", "b.json", "c.jsonl", document} {
			fd := p.opens(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC) // cp -p
			p.writes(fd, `{"a": 2}`+"\n")
			p.dates(fd, 1e9)
			p.closes(fd)
			p.looks(name)
			p.saves(name, `{"a": 3}`+"\n")
			p.looks(name)
			fd = p.opens(name, unix.O_WRONLY) // touch -d
			p.dates(fd, 1e9+1)
			p.closes(fd)
			p.looks(name)
			fd = p.opens(name, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK) // touch
			p.do("futimens(now)", unix.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0)
			p.closes(fd)
			p.looks(name)
			fd = p.opens("plain", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC) // rsync -t
			p.writes(fd, `{"a": 4}`+"\n")
			p.dates(fd, 1e9+2)
			p.closes(fd)
			p.renames("plain", name)
			p.looks(name)
			if name != document {
				fd = p.opens(name, unix.O_WRONLY|unix.O_TRUNC) // what is no JSON
				p.writes(fd, "{ // 5\n}\n")
				p.dates(fd, 1e9+3)
				p.closes(fd)
				p.looks(name)
			}
			p.saves(name, `{"a": 5}`+"\n")
			p.looks(name)
		}
	},
	"a time that was set, and the file is only opened": func(p *program) {
		for _, name := range []string{"a.json", "b.json", "c.jsonl", document} {
			p.saves(name, `{"a": 2}`+"\n")
			p.looks(name)
			ts := [2]unix.Timespec{{Sec: 1e9}, {Sec: 1e9 + 1}}
			p.do("utimensat", unix.SYS_UTIMENSAT, here, p.put(name), uintptr(unsafe.Pointer(&ts)), 0)
			p.closes(p.opens(name, unix.O_RDWR))
			p.looks(name)
			p.closes(p.opens(name, unix.O_RDWR|unix.O_CREAT))
			p.looks(name)
		}
	},
	"made read-only while it is written": func(p *program) {
		for _, name := range []string{"a.json", "c.jsonl", "new.json", document} { // cp -p, rsync -p
			fd := p.opens(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
			p.writes(fd, `{"a": 2}`+"\n")
			p.do("fchmod", unix.SYS_FCHMOD, uintptr(fd), 0o444)
			p.closes(fd)
			p.looks(name)
		}
		fd := p.opens("plain", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
		p.writes(fd, `{"a": 4}`+"\n")
		p.do("fchmod", unix.SYS_FCHMOD, uintptr(fd), 0o444)
		p.closes(fd)
		p.looks("d/a.json")
		p.saves("d/a.json", `{"a": 3}`+"\n")
		p.renames("plain", "d/a.json")
		p.looks("d/a.json")
		fd = p.opens("last.json", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC) // which nothing comes after
		p.writes(fd, `{"a": 2}`+"\n")
		p.do("fchmod", unix.SYS_FCHMOD, uintptr(fd), 0o444)
		p.dates(fd, 1e9)
		p.closes(fd)
	},
	"renamed before it is closed": func(p *program) {
		for i, name := range []string{"a.json", "c.jsonl", "new.json", document} {
			for j, mode := range []uintptr{0, 0o600, 0o666} {
				if name == document && mode != 0 {
					continue // it keeps its own
				}
				fd := p.opens("plain", unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)
				p.writes(fd, `{"a":`)
				p.renames("plain", name)
				if mode != 0 {
					p.do("fchmod", unix.SYS_FCHMOD, uintptr(fd), mode)
				}
				p.writes(fd, fmt.Sprintf(" %d}\n", 10*i+j))
				p.closes(fd)
				p.looks(name)
			}
		}
	},
	"moved away, and another one in its place": func(p *program) {
		for i, name := range []string{"a.json", "c.jsonl"} {
			p.looks(name)
			p.renames(name, "other")
			p.saves("plain", fmt.Sprintf("{\"a\": %d}\n", i))
			p.renames("plain", name)
			p.looks(name)
			p.saves("plain", "{\"a\": 1, \"b\": [2]}\n")
			p.renames("plain", name)
			p.looks(name)
		}
	},
	"put in the place of a file with another name": func(p *program) {
		for i, name := range []string{"a.json", "c.jsonl"} {
			p.looks(name)
			p.do("link", unix.SYS_LINKAT, here, p.put(name), here, p.lay("other", 0), 0)
			p.saves("plain", fmt.Sprintf("{\"a\": %d}\n", i))
			p.renames("plain", name)
			fd := p.opens(name, unix.O_WRONLY)
			p.do("ftruncate", unix.SYS_FTRUNCATE, uintptr(fd), 0)
			p.closes(fd)
			p.looks(name)
			p.saves(name, "{}\n")
			p.looks(name)
			p.unlinks("other")
		}
	},
	"what is not there, renamed to what it cannot be": func(p *program) {
		for _, name := range []string{"n.ndjson", "a.json"} {
			p.saves(name, "{}\n")
			p.unlinks(name)
			p.renames(name, ".")
			p.renames(name, "missing/other")
			p.do("rename(noreplace)", unix.SYS_RENAMEAT2, here, p.put(name), here, p.lay(".", 0), unix.RENAME_NOREPLACE)
		}
	},
	"put in the place of a symlink": func(p *program) {
		p.looks("link.json")
		for i := range 3 {
			p.saves("plain", fmt.Sprintf("{\"k%d\": %d}\n", i, i))
			p.renames("plain", "link.json")
			p.looks("a.json")
		}
		p.looks("link.json")
		p.saves("plain", "{}\n")
		p.renames("plain", "d")
		p.looks("link.json")
	},
	"replaced without having been read": func(p *program) {
		for i, name := range []string{"a.json", "c.jsonl", document, "new.json", "new.jsonl", "new.ndjson"} {
			if i == 0 || i == 1 {
				p.do("chmod", unix.SYS_FCHMODAT, here, p.put(name), 0o600)
			}
			for n := range 3 {
				p.saves("plain", fmt.Sprintf("{\"k%d\": %d}\n", n, n))
				p.renames("plain", name)
			}
			p.looks(name)
		}
	},
	"moved to a new name, and written": func(p *program) {
		p.saves("a.json", "{\"a\": 1}\n")
		p.renames("a.json", "d/new.json")
		p.saves("d/new.json", "{\"b\": 2}\n")
		p.looks("d/new.json")
	},
	"replaced where it was made anew": func(p *program) {
		for _, name := range []string{"a.json", "c.jsonl", "new.json", "new.jsonl"} {
			p.unlinks(name)
			fd := p.opens(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
			p.writes(fd, "{\"a\": 1}\n")
			p.closes(fd)
			p.saves("plain", "{\"b\": 2}\n")
			p.renames("plain", name)
			p.looks(name)
			p.renames(name, "plain")
			p.saves("b.tmp", "{\"c\": 2}\n")
			p.renames("plain", name)
			p.renames("b.tmp", name)
			p.looks(name)
		}
	},
	"a hard link of what was written": func(p *program) {
		for _, name := range []string{"a.json", "c.jsonl"} {
			for i, other := range []string{"other.json", "other"} {
				p.saves(name, fmt.Sprintf("{\"a\": %d}\n", i))
				p.do("link", unix.SYS_LINKAT, here, p.put(name), here, p.lay(other, 0), 0)
				p.looks(other)
				p.saves(name, fmt.Sprintf("{\"b\": %d}\n", i))
				p.looks(other)
				p.looks(name)
				p.unlinks(other)
				p.saves(name, fmt.Sprintf("{\"c\": %d}\n", i))
				p.looks(name)
			}
		}
	},
	"a hard link at a name that was moved away": func(p *program) {
		for i, name := range []string{"n.ndjson", "new.json"} {
			from := []string{"c.jsonl", "a.json"}[i]
			for _, away := range []string{"plain", "d/other.json"} {
				fd := p.opens(name, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND)
				p.writes(fd, "{\"a\": 1}\n")
				p.closes(fd)
				p.renames(name, away)
				p.do("link", unix.SYS_LINKAT, here, p.put(from), here, p.lay(name, 0), 0)
				p.looks(name)
				p.looks(from)
				ts := [2]unix.Timespec{{Sec: 1e9}, {Sec: int64(1e9 + i)}}
				p.do("utimensat", unix.SYS_UTIMENSAT, here, p.put(name), uintptr(unsafe.Pointer(&ts)), 0)
				p.looks(from)
				p.saves(name, fmt.Sprintf("{\"b\": %d}\n", i))
				p.looks(from)
				p.unlinks(name)
				p.saves(from, fmt.Sprintf("{\"c\": %d}\n", i))
				p.looks(from)
			}
		}
	},
	"written by another name": func(p *program) {
		for i, name := range []string{"a.json", "c.jsonl"} {
			for _, other := range []string{"other", "other.json", "other.ndjson"} {
				p.looks(name)
				p.do("link", unix.SYS_LINKAT, here, p.put(name), here, p.lay(other, 0), 0)
				p.saves(other, fmt.Sprintf("{\"a\": %d, \"other\": \"name\"}\n", i))
				p.unlinks(other)
				p.saves(name, fmt.Sprintf("{\"b\": %d}\n", i))
				p.looks(name)
				p.do("link", unix.SYS_LINKAT, here, p.put(name), here, p.lay(other, 0), 0)
				p.looks(name)
				p.saves(other, fmt.Sprintf("{\"b\": %d}\n{\"b\": 7}\n", i))
				p.unlinks(other)
				p.saves(name, fmt.Sprintf("{\"b\": %d}\n", i))
				p.looks(name)
			}
		}
	},
	"a file that gets its name when it is written": func(p *program) {
		for i, name := range []string{"new.json", "new.jsonl", "a.json", document} {
			for _, there := range []bool{false, true} {
				if !there {
					p.unlinks(name)
				}
				fd := p.do("open(O_TMPFILE)", unix.SYS_OPENAT, here, p.put("."), unix.O_TMPFILE|unix.O_WRONLY, 0o644)
				p.writes(fd, fmt.Sprintf("{\"a\": %d}\n", i))
				p.do("link", unix.SYS_LINKAT, here, p.put(descriptorNames(fd)[0]), here, p.lay(name, 0), unix.AT_SYMLINK_FOLLOW)
				p.looks(name)
				p.closes(fd)
				p.saves(name, fmt.Sprintf("{\"b\": %d}\n", i))
				p.looks(name)
			}
		}
	},
	"a file that becomes a symlink": func(p *program) {
		p.saves("a.json", "{\"a\": 1}\n")
		p.looks("a.json")
		p.unlinks("a.json")
		p.do("symlink", unix.SYS_SYMLINKAT, p.put("plain"), here, p.lay("a.json", 0))
		p.looks("a.json")
	},
	"a name that is too long for one beside it": func(p *program) {
		name := strings.Repeat("x", 250) + ".json"
		fd := p.do("open", unix.SYS_OPENAT, here, p.put(name), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o444)
		p.writes(fd, "{}\n")
		p.closes(fd)
		p.looks(name)
	},
	"made, and gone at once": func(p *program) {
		for _, name := range []string{document, "a.json", "new.json"} {
			p.unlinks(name)
			p.saves(name, "{\"a\": 1}\n")
			p.unlinks(name)
			p.looks(name)
			p.saves(name, "{\"a\": 2}\n")
			p.renames(name, "plain")
			p.looks(name)
			p.looks("plain")
			p.saves(name, "{\"a\": 3}\n")
			p.do("truncate", unix.SYS_TRUNCATE, p.put(name), 0)
			p.looks(name)
		}
	},
	"made to be read only": func(p *program) {
		fd := p.do("open", unix.SYS_OPENAT, here, p.put("new.json"), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o444)
		p.writes(fd, "{}\n")
		p.closes(fd)
		p.looks("new.json")
		p.opens("new.json", unix.O_WRONLY)
	},
	"another file behind the name of a temporary one": func(p *program) {
		for i, name := range []string{"a.json", document} {
			temp := name + ".tmp"
			p.saves(temp, `{"first": 1}`)
			p.saves("plain", `{"second": 2}`)
			p.renames("plain", temp)
			p.looks(temp)
			p.renames(temp, name)
			p.looks(name)

			p.saves(temp, `{"third": 3}`)
			p.unlinks(temp)
			fd := p.opens(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
			p.writes(fd, fmt.Sprintf(`{"fourth": %d}`, i))
			p.closes(fd)
			p.looks(temp)
			p.renames(temp, name)
			p.looks(name)
		}
	},
	"a temporary file that looks like that of several": func(p *program) {
		for _, name := range []string{"n.ndjson", "json.json", "a.json", document} {
			p.saves(name, "{\"a\": 1}\n")
		}
		for i, name := range []string{"a.json", document} {
			temp := name + ".tmp"
			p.saves(temp, `{"first": 1}`)
			fd := p.opens(temp+".new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
			p.writes(fd, fmt.Sprintf(`{"second": %d}`, i))
			p.closes(fd)
			p.renames(temp+".new", temp)
			p.looks(temp)
			p.renames(temp, name)
			p.looks(name)
		}
	},
	"cut, and it has another name": func(p *program) {
		p.saves("a.json", `{"a": [1, 2, 3]}`)
		p.do("link", unix.SYS_LINKAT, here, p.put("a.json"), here, p.lay("other", 0), 0)
		p.do("truncate", unix.SYS_TRUNCATE, p.put("a.json"), 5)
		p.looks("a.json")
		p.looks("other")
	},
}

func (p *program) make(steps func(p *program)) { steps(p) }

func (p *program) opens(name string, flags int) int {
	return p.do(fmt.Sprintf("open(%s, %#x)", name, flags), unix.SYS_OPENAT, here, p.put(name), uintptr(flags), 0o644)
}

func (p *program) writes(fd int, text string) {
	b := []byte(text)
	p.do(fmt.Sprintf("write(%s)", text), unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
}

func (p *program) closes(fd int) { p.do("close", unix.SYS_CLOSE, uintptr(fd)) }

func (p *program) dates(fd, sec int) {
	ts := [2]unix.Timespec{{Sec: 1e9}, {Sec: int64(sec)}}
	p.do("futimens", unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0)
}

func (p *program) saves(name, text string) {
	fd := p.opens(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	p.writes(fd, text)
	p.closes(fd)
}

// looks tells what is at a name, by stat(2) and by reading it.
func (p *program) looks(name string) {
	var st unix.Stat_t
	r, said := call(unix.SYS_NEWFSTATAT, here, p.put(name), uintptr(unsafe.Pointer(&st)), 0)
	if r == 0 {
		said = describe(&st, false)
	}
	p.say("stat(%s) = %s", name, said)
	fd := p.opens(name, unix.O_RDONLY)
	text := make([]byte, 300)
	r, said = call(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	p.say("read = %s %q", said, text[:max(r, 0)])
	p.closes(fd)
}

func (p *program) renames(from, to string) {
	p.do(fmt.Sprintf("rename(%s, %s)", from, to), unix.SYS_RENAMEAT2, here, p.put(from), here, p.put(to), 0)
}

func (p *program) unlinks(name string) {
	p.do(fmt.Sprintf("unlink(%s)", name), unix.SYS_UNLINKAT, here, p.put(name), 0)
}

func TestWhatWasFound(t *testing.T) {
	program := executable(t)
	for name := range found {
		for _, named := range []bool{false, true} {
			for _, nobody := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, named %v, nobody %v", name, named, nobody), func(t *testing.T) {
					t.Parallel()
					if nobody && os.Geteuid() != 0 {
						t.Skip("SKIPPED: needs root")
					}
					c := comparison{t, program, nobody}
					c.compare(name, named)
				})
			}
		}
	}
}
