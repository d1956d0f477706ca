package mqtt

// Deadlines tells how many deadlines are armed.
func (b *Broker) Deadlines() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.deadlines)
}
