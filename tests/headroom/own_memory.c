/* A library that makes each process which is forked own OWN_BYTES of memory. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static void own(void)
{
    void *memory = mmap(0, OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        memset(memory, 1, OWN_BYTES);
}

__attribute__((constructor)) static void at_load(void)
{
    pthread_atfork(0, 0, own);
}
