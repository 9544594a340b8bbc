const char *words(int count, char **given);
