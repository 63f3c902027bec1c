package session

const idleHub = "X"

func serveIdle() {}
