package merge

// SmallExcerpts is Excerpt that leaves out short runs, and looks at little at once.
func SmallExcerpts(texts []Text, f Format, pol *Policy, window, child, least int) (*Excerpts, error) {
	return excerptOf(texts, f, pol, excerptLimits{window: window, child: child, least: least, most: func(size int64) int64 { return size }})
}

// Gaps is how many runs were left out.
func (x *Excerpts) Gaps() int { return len(x.gaps) }
