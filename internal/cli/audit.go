package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"riposte/internal/audit"
	"riposte/internal/journal"
)

func newAuditExportCommand(e *env) *cobra.Command {
	var syslog string
	var after int64
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print all records as JSON lines, oldest first, or send them to a syslog server",
		Long: "Prints all records as JSON lines, oldest first. With --syslog they are sent to a syslog server\n" +
			"instead (RFC 5424): the message is the line, its structured data has the record's number and SHA-256.\n" +
			"The setting audit.syslog sends each record as it is made.",
		Args: args(none),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.loadSettings()
			if err != nil {
				return err
			}
			j, err := e.reading()
			if err != nil {
				return err
			}
			defer j.Close()
			if syslog != "" {
				return e.sendAudit(cmd.Context(), j, syslog, s.HostName(), after)
			}
			return j.Export(cmd.Context(), after, func(_ int64, line []byte) error {
				_, err := e.out.Write(append(line, '\n'))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&syslog, "syslog", "", "send to udp://host:port, tcp://host:port or unix:///path")
	cmd.Flags().Int64Var(&after, "after", 0, "only the records after this number")
	return cmd
}

func (e *env) sendAudit(ctx context.Context, j *journal.Journal, address, host string, after int64) error {
	s, err := audit.Dial(ctx, address, host)
	if err != nil {
		return err
	}
	n, last := 0, after
	err = j.Export(ctx, after, func(seq int64, line []byte) error {
		if err := s.Send(ctx, line); err != nil {
			return fmt.Errorf("%w; the last record sent is %d", err, last)
		}
		n, last = n+1, seq
		return nil
	})
	if err != nil {
		_ = s.Close() // the first error says more
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return e.print(map[string]int64{"sent": int64(n), "last": last}, func(w io.Writer) {
		fmt.Fprintf(w, "sent: %d records, the last is %d\n", n, last)
	})
}
