package model

// Worlds in which the protocol has to hold. Each is searched whole.
var Worlds = []Config{
	// Two processes, everything that can happen once.
	{Programs: []string{"J", "U"}, Losses: 1, Faults: 1, ParentLies: true},
	{Programs: []string{"J", "U"}, Kills: 1, Losses: 1, Inherit: true},
	{Programs: []string{"J", "U"}, Kills: 1, Outsiders: 1, Faults: 1},
	{Programs: []string{"JJ", "JU"}, Kills: 1, Losses: 1},
	{Programs: []string{"T", "D"}, Kills: 1, Losses: 1},
	{Programs: []string{"R", "D"}, Losses: 1, Faults: 1},
	{Programs: []string{"DJ", "D"}, Losses: 1, Truncate: true},
	{Programs: []string{"J", "J"}, Kills: 2, Losses: 1},
	{Programs: []string{"J", "U"}, Losses: 2},
	// A change that is alone, by who holds the lock that the others have borrowed.
	{Programs: []string{"L", "U"}, Kills: 1, Losses: 1, Inherit: true},
	{Programs: []string{"L", "J"}, Kills: 1, Losses: 1, Inherit: true},
	{Programs: []string{"L", "D"}, Losses: 1, Faults: 1, Inherit: true},
	// Three processes: a third can come between the two.
	{Programs: []string{"J", "D", "U"}, Kills: 1},
	{Programs: []string{"J", "J", "U"}, Losses: 1},
}

// DeepWorlds take twenty minutes on two busy cores, and less than 13 GB.
var DeepWorlds = []Config{
	{Programs: []string{"J", "U"}, Kills: 1, Losses: 1, Outsiders: 1, Faults: 1},
	{Programs: []string{"DU", "RJ"}, Kills: 1, Losses: 1},
	{Programs: []string{"DJ", "T"}, Kills: 1, Losses: 1, Faults: 1, Truncate: true},
	{Programs: []string{"J", "J"}, Kills: 2, Losses: 2},
	{Programs: []string{"J", "D"}, Kills: 2, Losses: 2},
	{Programs: []string{"JU", "U"}, Kills: 2, Losses: 2},
	{Programs: []string{"JU", "D"}, Losses: 2, Faults: 1, ParentLies: true},
	{Programs: []string{"JJ", "UU"}, Kills: 2, Losses: 1, Outsiders: 1},
	{Programs: []string{"J", "J", "U"}, Kills: 1, Losses: 1},
	{Programs: []string{"J", "D", "T"}, Kills: 1, Losses: 1},
	{Programs: []string{"J", "R", "U"}, Kills: 1, Losses: 1, Inherit: true},
	{Programs: []string{"J", "J", "U"}, Kills: 2, Losses: 2},
	{Programs: []string{"L", "J", "U"}, Kills: 1, Losses: 1, Inherit: true},
	{Programs: []string{"J", "D", "U"}, Kills: 1, Losses: 1, Faults: 1, ParentLies: true},
	{Programs: []string{"JD", "TU"}, Kills: 2, Losses: 1, Truncate: true},
	{Programs: []string{"J", "D", "U"}, Kills: 2, Losses: 2},
}
