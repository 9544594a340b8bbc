#include <stdio.h>
#include "words.h"

int main(int argc, char **argv)
{
	return puts(words(argc - 1, argv + 1)) < 0;
}
