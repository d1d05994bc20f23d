Day ${day
