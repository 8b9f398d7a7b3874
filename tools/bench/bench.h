/* What kg_bench's program and its nodes share: between two runs of a model's work the host has its say. */
#ifndef KG_TOOLS_BENCH_H
#define KG_TOOLS_BENCH_H

typedef struct bench_gate {
    const char *what, *precision;  /* for the printed line                                              */
    int serve;                     /* 1: runs wait for "go N" on stdin, so that another program can have its turn */
    long left;                     /* runs that may begin before the next line is read                  */
    double began;
} bench_gate;
extern bench_gate bench_gate_now;

double bench_now(void);

#endif
