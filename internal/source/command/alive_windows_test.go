package command

func alive(int) bool { return false }
